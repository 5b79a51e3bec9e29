package disk

import "fmt"

// A FormatError says that an image is not what its format demands: it is
// damaged, cut short, or made to mislead.
type FormatError struct {
	Format string // name of the format, as in "qcow2"
	Msg    string // what is wrong, one line without a final period
}

func (e *FormatError) Error() string { return e.Msg }

// Corruptf returns a *FormatError.
func Corruptf(format, msg string, args ...any) error {
	return &FormatError{Format: format, Msg: fmt.Sprintf(msg, args...)}
}

// An UnsupportedError says that an image is, or may be, sound, and asks for
// something that this program does not do.
type UnsupportedError struct {
	Format  string // name of the format
	Feature string // what it asks for; the error's text
}

func (e *UnsupportedError) Error() string { return e.Feature }

// Unsupportedf returns an *UnsupportedError.
func Unsupportedf(format, feature string, args ...any) error {
	return &UnsupportedError{Format: format, Feature: fmt.Sprintf(feature, args...)}
}

// An UnknownFormatError says that no format of that name is registered.
type UnknownFormatError struct{ Name string }

func (e *UnknownFormatError) Error() string { return fmt.Sprintf("Unknown driver '%s'", e.Name) }

// A MissingReferenceError says that content was asked for that is stored in a
// file which the image names and nobody opened for it.
type MissingReferenceError struct{ Reference Reference }

func (e *MissingReferenceError) Error() string {
	return fmt.Sprintf("the %s %q that the image names was not opened", e.Reference.Kind, e.Reference.Name())
}

// A PassphraseError says that an image is encrypted, and that its passphrase
// is missing or wrong.
type PassphraseError struct {
	Format string // name of the format
	Msg    string // what is wrong
}

func (e *PassphraseError) Error() string { return e.Msg }

// A WordedError has a text, qemu-img's, that says all there is to say: nothing is
// to be said of Err besides.
type WordedError struct {
	Text string
	Err  error
}

func (e *WordedError) Error() string { return e.Text }
func (e *WordedError) Unwrap() error { return e.Err }
