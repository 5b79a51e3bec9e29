package chain

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/safetext"
	"instar/internal/strerror"
)

// openTop opens the image that the user named, with qemu's texts where that
// fails. A pipe, which qemu would wait for without end, is refused.
func openTop(name string) (*os.File, string, error) {
	path, err := localfile.Path(name)
	if err != nil {
		return nil, "", err
	}
	if path == "" {
		return nil, "", errors.New("The 'file' block driver requires a file name")
	}
	// O_NONBLOCK keeps the open of a pipe, and of a device without a medium,
	// from waiting; it means nothing to what is accepted below.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", couldNotOpen(path, worded(err))
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, "", couldNotOpen(path, worded(err))
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFCHR:
		return f, path, nil
	case unix.S_IFIFO:
		err = fmt.Errorf("'%s' is a pipe, and an image must be a file that can be read at any place", safetext.Escape(path))
	default:
		err = notRegular(path)
	}
	f.Close()
	return nil, "", err
}

func notRegular(path string) error {
	return fmt.Errorf("'file' driver requires '%s' to be a regular file", safetext.Escape(path))
}

// wordedError is a system error in the words of the C library.
type wordedError struct{ err error }

func worded(err error) error { return wordedError{err} }

func (e wordedError) Error() string { return strerror.Text(e.err) }
func (e wordedError) Unwrap() error { return e.err }
