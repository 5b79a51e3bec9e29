package chain

import (
	"fmt"

	"golang.org/x/sys/unix"

	"instar/internal/safetext"
	"instar/internal/strerror"
)

// A RefusedError says that the policy does not let a name be followed. It is
// the same whether there is such a file or not.
type RefusedError struct {
	Name string // as the image has it
	Why  string // one line
}

func (e *RefusedError) Error() string { return e.Why }

// refused returns a *RefusedError that quotes the name.
func refused(name, why string) error {
	return &RefusedError{Name: name, Why: fmt.Sprintf("'%s' %s", shown(name), why)}
}

// shown returns a name as an error may have it.
func shown(name string) string { return safetext.Escape(safetext.Limit(name, maxName)) }

// couldNotOpen puts qemu-img's frame around err.
func couldNotOpen(name string, err error) error {
	return fmt.Errorf("Could not open '%s': %w", shown(name), worded(err))
}

// notRegular is qemu's text for what is there but is no file.
func notRegular(name string) error {
	return fmt.Errorf("'file' driver requires '%s' to be a regular file", shown(name))
}

// wordedError is a system error in the words of the C library.
type wordedError struct{ errno unix.Errno }

// worded returns err, in those words if it is a system error and no more.
func worded(err error) error {
	if errno, ok := err.(unix.Errno); ok {
		return wordedError{errno}
	}
	return err
}

func (e wordedError) Error() string { return strerror.Errno(e.errno) }
func (e wordedError) Unwrap() error { return e.errno }
