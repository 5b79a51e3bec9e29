package localfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"instar/internal/safetext"
	"instar/internal/strerror"
)

// Direct opens what f is open on once more, for access (unix.O_WRONLY or
// O_RDONLY) past the page cache. The error has qemu's text.
func Direct(f *os.File, access int) (*os.File, error) {
	direct, err := Reopen(f, access|unix.O_DIRECT)
	if err != nil {
		return nil, noDirect(f, err)
	}
	return direct, nil
}

// Reopen opens what f is open on once more, with the flags of open(2).
func Reopen(f *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flags|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Forget drops what is in the page cache of a file and on stable storage as
// well, so that reading it asks the disk. Where that cannot be, nothing is lost.
func Forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// SetDirect has what is read by f come past the page cache from now on.
func SetDirect(f *os.File) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err != nil {
		return noDirect(f, err)
	}
	return nil
}

func noDirect(f *os.File, err error) error {
	name := safetext.Escape(f.Name())
	why := fmt.Sprintf("Could not open '%s': %s", name, strerror.Text(err))
	if errors.Is(err, unix.EINVAL) {
		why = "file system may not support O_DIRECT"
	}
	return fmt.Errorf("Could not open '%s': %s", name, why)
}
