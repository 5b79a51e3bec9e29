// Package output makes the file that an image is written to, and puts it under
// its name when it is complete: a run that fails or is killed leaves what
// stood there before.
package output

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/strerror"
)

// Options say how the output is to be made.
type Options struct {
	// NoCreate writes into the file or device that is there (-n), which keeps
	// what is not written to.
	NoCreate bool
	// Size is how long the output will be at least, in bytes: a device that is
	// shorter is refused. It does not count with NoCreate: see [File.Size].
	Size int64
}

// A CreateError says that the output could not be made. qemu-img puts what it
// was doing before the text: "OUT: error while creating output image: ".
type CreateError struct{ Err error }

func (e *CreateError) Error() string { return e.Err.Error() }
func (e *CreateError) Unwrap() error { return e.Err }

// A File is an output that is being written.
type File struct {
	place
	file   *os.File // write-only
	size   int64
	device bool
	done   bool
}

// Create makes the output of that name, which may be one of a link, of a file
// to be replaced, of a block device, or new. The error is a *CreateError, or
// has a text that says it all ("Could not open 'x': …", "Unknown protocol
// 'x'"). The caller ends with Commit or Abort.
func Create(name string, o Options) (*File, error) {
	path, err := localfile.Path(name)
	if err != nil {
		return nil, err
	}
	if o.NoCreate {
		return openExisting(name, path)
	}
	f, err := create(path, o)
	if err != nil {
		return nil, &CreateError{Err: err}
	}
	return f, nil
}

// File is what to write to: open for writing only.
func (f *File) File() *os.File { return f.file }

// InPlace reports that the file is written under its own name, so that what a
// failed run wrote can be seen.
func (f *File) InPlace() bool { return f.temp == "" }

// Zeroed reports that the output reads as zeros where nothing is written.
func (f *File) Zeroed() bool { return f.size == 0 && !f.device }

// Size is the length in bytes of a device, and of a file opened with NoCreate;
// 0 otherwise.
func (f *File) Size() int64 { return f.size }

// Device reports that the output is a device.
func (f *File) Device() bool { return f.device }

func couldNotCreate(path string, err error) error {
	return fmt.Errorf("Could not create '%s': %w", path, worded(err))
}

// wordedError is a system error in the words of the C library.
type wordedError struct{ err error }

func worded(err error) error { return wordedError{err} }

func (e wordedError) Error() string { return strerror.Text(e.err) }
func (e wordedError) Unwrap() error { return e.err }

// Same reports whether name, or what it links to, is the file that in is open
// on. A name under which there is nothing is not.
func Same(in *os.File, name string) (bool, error) {
	path, err := localfile.Path(name)
	if err != nil {
		return false, nil
	}
	var a, b unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &a); err != nil {
		return false, err
	}
	if unix.Stat(path, &b) != nil {
		return false, nil
	}
	return sameFile(&a, &b), nil
}

// sameFile reports whether two files, or two nodes of one device, are the
// same.
func sameFile(a, b *unix.Stat_t) bool {
	if a.Mode&unix.S_IFMT == unix.S_IFBLK && b.Mode&unix.S_IFMT == unix.S_IFBLK {
		return a.Rdev == b.Rdev
	}
	return a.Dev == b.Dev && a.Ino == b.Ino
}
