package localfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// What an opener does to an image, as qemu counts it (BLK_PERM_*): a lock on
// byte 100+n says that somebody does it, one on byte 200+n that somebody can
// not bear others doing it.
const (
	permRead   = 0
	permWrite  = 1
	permResize = 3

	permBase   = 100
	sharedBase = 200
)

var permNames = map[int64]string{permRead: "consistent read", permWrite: "write", permResize: "resize"}

// A LockError says that another process uses an image in a way that does not
// go with what was asked.
type LockError struct {
	File string // the name of the image
	What string // the lock, in qemu's words
}

// Error is two lines, as qemu has it.
func (e *LockError) Error() string {
	return fmt.Sprintf("Failed to get %s lock\nIs another process using the image [%s]?", e.What, e.File)
}

// LockRead takes the locks of a reader on f, an image of that name, which must
// be open for reading. They last until f and all its duplicates are closed.
// The error is a *LockError. Where the file system has no locks there are none.
func LockRead(f *os.File, name string) error {
	return lock(f, name, []int64{permRead})
}

// LockWrite does the same for a writer. f must be open for reading; it need
// not be the descriptor that is written to.
func LockWrite(f *os.File, name string) error {
	return lock(f, name, []int64{permRead, permWrite, permResize})
}

// lock takes the locks for does, and those against others that write or
// resize, and then looks whether somebody else's forbid it: in this order two
// processes can not both miss the other.
func lock(f *os.File, name string, does []int64) error {
	alone := []int64{permWrite, permResize}
	for _, n := range does {
		if err := hold(f, permBase+n); err != nil {
			return failed(err, name, quoted(n))
		}
	}
	for _, n := range alone {
		if err := hold(f, sharedBase+n); err != nil {
			return failed(err, name, "shared "+quoted(n))
		}
	}
	for _, n := range does {
		if taken(f, sharedBase+n) {
			return &LockError{File: name, What: quoted(n)}
		}
	}
	for _, n := range alone {
		if taken(f, permBase+n) {
			return &LockError{File: name, What: "shared " + quoted(n)}
		}
	}
	return nil
}

// hold takes a shared lock on one byte. No program of qemu's takes an exclusive
// one.
func hold(f *os.File, at int64) error {
	l := unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
}

// taken reports whether somebody else has a lock on the byte.
func taken(f *os.File, at int64) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return err == nil && l.Type != unix.F_UNLCK
}

func quoted(n int64) string { return fmt.Sprintf("%q", permNames[n]) }

// failed returns what a lock that could not be taken means: nothing where the
// file system or the kernel has no such locks.
func failed(err error, name, what string) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return &LockError{File: name, What: what}
	}
	for _, missing := range []error{unix.EINVAL, unix.ENOLCK, unix.ENOTSUP, unix.ENOSYS} {
		if errors.Is(err, missing) {
			return nil
		}
	}
	return fmt.Errorf("lock the image: %w", err)
}
