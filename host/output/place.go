package output

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A place is where an output is written, and where it goes when complete.
type place struct {
	dir  *os.File // the folder of base; nil for a device and with NoCreate
	base string   // the final name, in dir
	temp string   // the name it has until then; "" when it is written in place

	created  bool        // base was made by this run, in place
	existing bool        // what stood under base before is not ours to remove
	old      unix.Stat_t // what is to be replaced, if existing and temp is set
	locks    *os.File    // holds the locks on what stands under base
}

// createNew makes an output where there is nothing.
func createNew(path string) (*File, error) {
	f := new(File)
	if err := f.findPlace(path); err != nil {
		return nil, couldNotCreate(path, err)
	}
	err := f.openTemp(newMode)
	if letsNoFileBeMade(err) {
		err = f.openNew()
	}
	if err != nil {
		f.close()
		return nil, couldNotCreate(path, err)
	}
	return f, nil
}

// replace has f, which is open on a regular file, be a file that will replace
// it; or be that file, emptied, where its folder lets no other be made.
func (f *File) replace(path string, st *unix.Stat_t) error {
	f.existing, f.old = true, *st
	if err := f.lock(path); err != nil {
		return err
	}
	target := f.file
	err := f.findPlace(path)
	if err == nil {
		err = f.openTemp(0o600)
	}
	switch {
	case err == nil:
		target.Close()
		return nil
	case letsNoFileBeMade(err):
		err = unix.Ftruncate(int(target.Fd()), 0)
	}
	if err != nil {
		return couldNotCreate(path, err)
	}
	return nil
}

// findPlace opens the folder of what path leads to, after every symbolic link.
func (p *place) findPlace(path string) error {
	path, err := follow(path)
	if err != nil {
		return err
	}
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.dir, p.base = os.NewFile(uintptr(fd), dir), base
	return nil
}

// maxLinks is how many symbolic links are followed, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// follow returns the path of what path leads to, which need not exist.
func follow(path string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(path)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return path, nil
		case err != nil:
			return "", err
		case filepath.IsAbs(target):
			path = target
		default:
			// Not filepath.Join: what ".." means depends on the links before it.
			dir, _ := filepath.Split(path)
			path = dir + target
		}
	}
	return "", unix.ELOOP
}

// letsNoFileBeMade reports that a folder, or what confines this process, does
// not let another file be made.
func letsNoFileBeMade(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

const (
	tempMark   = ".instar-"
	tempRandom = 10  // characters after the mark
	maxName    = 255 // NAME_MAX of Linux
)

// tempPrefix is what the names of all temporary files of base begin with.
func tempPrefix(base string) string {
	return "." + base[:min(len(base), maxName-1-len(tempMark)-tempRandom)] + tempMark
}

// openTemp makes the temporary file beside base. A lock (flock) on it, which
// lasts until this process and the worker have gone, says that it is in use.
func (f *File) openTemp(mode uint32) error {
	removeLeftovers(f.dir, tempPrefix(f.base))
	for range 100 {
		name := tempPrefix(f.base) + strings.ToLower(rand.Text()[:tempRandom])
		fd, err := unix.Openat(int(f.dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return err
		}
		if lockTemp(int(f.dir.Fd()), fd, name) {
			f.temp, f.file = name, os.NewFile(uintptr(fd), name)
			return nil
		}
		unix.Close(fd)
	}
	return unix.EEXIST
}

// openNew makes base itself.
func (f *File) openNew() error {
	fd, err := unix.Openat(int(f.dir.Fd()), f.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, newMode)
	if err != nil {
		return err
	}
	f.created, f.file = true, os.NewFile(uintptr(fd), f.base)
	return nil
}

// Commit puts the output under its name. It does not sync.
func (f *File) Commit() error {
	if f.done {
		return nil
	}
	if f.temp != "" {
		if err := f.rename(); err != nil {
			f.Abort()
			return couldNotCreate(f.base, err)
		}
	}
	f.done = true
	return f.close()
}

// rename puts the temporary file under its name, with the mode and, where that
// is permitted, the owner of what it replaces.
func (f *File) rename() error {
	fd := int(f.file.Fd())
	if f.existing {
		mode := f.old.Mode & 0o7777
		if unix.Fchown(fd, int(f.old.Uid), int(f.old.Gid)) != nil {
			mode &= 0o777
		}
		if err := unix.Fchmod(fd, mode); err != nil {
			return err
		}
	}
	return unix.Renameat(int(f.dir.Fd()), f.temp, int(f.dir.Fd()), f.base)
}

// Abort gives the output up: a temporary file is removed, as is one that was
// made in place; an older one that is written in place for want of another is
// emptied; devices and outputs with NoCreate keep what was written. After
// Commit it does nothing.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	var err error
	switch {
	case f.temp != "":
		err = unix.Unlinkat(int(f.dir.Fd()), f.temp, 0)
	case f.created:
		err = f.removeCreated()
	case f.dir != nil:
		err = unix.Ftruncate(int(f.file.Fd()), 0)
	}
	return errors.Join(err, f.close())
}

// removeCreated removes base if it still is the file that was made.
func (f *File) removeCreated() error {
	var ours, there unix.Stat_t
	if err := unix.Fstat(int(f.file.Fd()), &ours); err != nil {
		return err
	}
	err := unix.Fstatat(int(f.dir.Fd()), f.base, &there, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || !sameFile(&ours, &there) {
		return err
	}
	return unix.Unlinkat(int(f.dir.Fd()), f.base, 0)
}

func (f *File) close() error {
	var errs []error
	for _, c := range []*os.File{f.file, f.locks, f.dir} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
