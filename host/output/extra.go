package output

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"instar/internal/safetext"
)

// createExtra makes the files that f consists of besides its own.
func (f *File) createExtra(paths []string) error {
	taken := map[position]bool{}
	if at, ok := f.position(); ok {
		taken[at] = true
	}
	for _, path := range paths {
		e, err := create(path, Options{})
		if err != nil {
			return err
		}
		f.extra = append(f.extra, e)
		at, ok := e.position()
		if !ok {
			continue // a device
		}
		if taken[at] {
			return fmt.Errorf("Could not create '%s': the image consists of other files of that name", safetext.Escape(path))
		}
		taken[at] = true
	}
	return nil
}

// A position says where a file will be: a name in a folder.
type position struct {
	device, inode uint64
	base          string
}

// position returns where f will be in the end. ok is false where it is what
// stands there already.
func (f *File) position() (at position, ok bool) {
	if f.dir == nil {
		return at, false
	}
	var st unix.Stat_t
	if unix.Fstat(f.fd(), &st) != nil {
		return at, false
	}
	return position{st.Dev, st.Ino, f.base}, true
}

// Extra are the other files that the output consists of.
func (f *File) Extra() []*File { return f.extra }

// swap puts a file under its name as rename does, but keeps what stood there
// under the temporary name, where the file system can do that.
func (f *File) swap() error {
	if f.old != nil {
		if err := f.inherit(); err != nil {
			return err
		}
	}
	if st, err := f.stat(); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return f.renameRemovably()
	}
	err := unix.Renameat2(f.fd(), f.temp, f.fd(), f.base, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		f.swapped = true
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return f.renameRemovably()
	}
	return err
}

// renameRemovably puts a file under its name, from which Abort removes it.
func (f *File) renameRemovably() error {
	err := unix.Renameat(f.fd(), f.temp, f.fd(), f.base)
	if err == nil {
		f.temp, f.failed = "", remove
	}
	return err
}

// swapBack undoes swap.
func (f *File) swapBack() error {
	if !f.swapped {
		return nil
	}
	f.swapped = false
	return unix.Renameat2(f.fd(), f.temp, f.fd(), f.base, unix.RENAME_EXCHANGE)
}

// Waiting for other runs that put files into the same folder: for a moment each.
const (
	turnTries = 1000
	turnPause = 10 * time.Millisecond
)

var errTurn = errors.New("another run is putting files into the same folder, and does not come to an end")

// takeTurn waits until no other run puts files into the folder of f: those of two
// are not to be mixed. The lock lasts until what it returns is closed. Where
// there are no locks, nobody waits.
func (f *File) takeTurn() (*os.File, error) {
	if f.dir == nil {
		return nil, nil
	}
	fd, err := unix.Openat(f.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil
	}
	dir := os.NewFile(uintptr(fd), f.dir.Name())
	for range turnTries {
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return dir, nil
		}
		time.Sleep(turnPause)
	}
	dir.Close()
	return nil, couldNotCreate(f.base, errTurn)
}

// setAside renames what stands under the name of f, if that is a file.
func (f *File) setAside() error {
	if f.temp == "" {
		return nil
	}
	if st, err := f.stat(); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil // nothing, or something that f cannot replace
	}
	if fd, err := unix.Openat(f.fd(), f.base, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
		f.asideFile = os.NewFile(uintptr(fd), f.base)
		_ = lockTemp(f.asideFile)
	}
	aside := tempPrefix(f.base) + tempEnd()
	if err := unix.Renameat(f.fd(), f.base, f.fd(), aside); err != nil {
		return couldNotCreate(f.base, err)
	}
	f.aside = aside
	return nil
}

// putBack undoes setAside.
func (f *File) putBack() error {
	if f.aside == "" {
		return nil
	}
	aside := f.aside
	f.aside = ""
	return unix.Renameat(f.fd(), aside, f.fd(), f.base)
}

// dropAside removes what setAside renamed.
func (f *File) dropAside() error {
	if f.aside == "" {
		return nil
	}
	return f.removeReplaced(f.aside)
}

// swapExtra puts the other files under their names; those of the last run stay
// until the file itself is in place.
func (f *File) swapExtra() error {
	for _, e := range f.extra {
		if e.temp == "" {
			continue
		}
		if err := e.swap(); err != nil {
			return couldNotCreate(e.base, err)
		}
	}
	return nil
}

// abortExtra gives the other files up.
func (f *File) abortExtra() error {
	var errs []error
	for _, e := range f.extra {
		errs = append(errs, e.swapBack(), e.Abort())
	}
	return errors.Join(errs...)
}

// keepExtra ends with the other files in place.
func (f *File) keepExtra() error {
	var errs []error
	for _, e := range f.extra {
		if e.swapped {
			errs = append(errs, e.removeReplaced(e.temp))
		}
		e.done = true
		e.close()
	}
	return errors.Join(errs...)
}

// removeReplaced removes what was replaced. Another run may have taken it for a
// leftover and been faster.
func (f *File) removeReplaced(name string) error {
	if err := unix.Unlinkat(f.fd(), name, 0); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
