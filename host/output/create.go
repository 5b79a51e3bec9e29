package output

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/safetext"
)

// openFlags never wait for the other end of a pipe, nor make a terminal ours.
const openFlags = unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK

// newMode is the mode of a new image before the umask, as in qemu's
// block/file-posix.c.
const newMode = 0o644

// Texts of qemu.
var (
	errGrow   = errors.New("Cannot grow device files")
	errResize = errors.New("Could not resize file: Invalid argument")
	errNoName = errors.New("The 'file' block driver requires a file name")
)

// create makes an output of Options without NoCreate.
func create(path string, o Options) (*File, error) {
	flags := openFlags
	if strings.HasSuffix(path, "/") {
		flags |= unix.O_CREAT // never makes one, but fails as it does in qemu
	}
	fd, err := unix.Open(path, flags, newMode)
	switch {
	case errors.Is(err, unix.ENOENT) && path != "" && flags == openFlags:
		return createNew(path)
	case errors.Is(err, unix.ENXIO) && kind(path) == unix.S_IFIFO:
		return nil, errResize
	case err != nil && kind(path) == unix.S_IFBLK:
		return nil, notWritable(err)
	case err != nil:
		return nil, couldNotCreate(path, err)
	}
	f := &File{file: os.NewFile(uintptr(fd), path)}
	if err := f.take(path, o); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// createNew makes an output where there is nothing.
func createNew(path string) (*File, error) {
	f := new(File)
	var err error
	if f.place, err = findPlace(path); err == nil {
		err = f.openTemp(newMode)
	}
	if f.dir != nil && letsNoFileBeMade(err) {
		f.file, err = f.open(f.base, newMode)
		f.failed = remove
	}
	if err != nil {
		f.close()
		return nil, couldNotCreate(path, err)
	}
	return f, nil
}

// letsNoFileBeMade reports that a folder, or what confines this process, does
// not let another file be made.
func letsNoFileBeMade(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

// take has f, which is open on what stands under path, become the output.
func (f *File) take(path string, o Options) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.file.Fd()), &st); err != nil {
		return couldNotCreate(path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if err := f.lock(path); err != nil {
			return err
		}
		if err := f.replace(path, &st); err != nil {
			return couldNotCreate(path, err)
		}
		return nil
	case unix.S_IFBLK:
		if err := f.useDevice(path); err != nil {
			return err
		}
		if f.size < o.Size {
			return errGrow
		}
		return nil
	case unix.S_IFCHR:
		f.device = true
		if o.Size > 0 {
			return errGrow
		}
		return nil
	}
	return errResize
}

// replace has f, which is open on a regular file, be one that will replace it;
// or be that file, emptied, where it cannot be replaced.
func (f *File) replace(path string, st *unix.Stat_t) error {
	f.old = st
	switch err := f.openBeside(path); {
	case err == nil:
		return nil
	case errors.Is(err, errMagicLink), errors.Is(err, errMounted), letsNoFileBeMade(err) && f.dir != nil:
		f.failed = empty
		return unix.Ftruncate(int(f.file.Fd()), 0)
	default:
		return err
	}
}

// errMounted says that a file is a mount of its own, which has no other name.
var errMounted = errors.New("the file is mounted")

// openBeside has f, which is open on a regular file, be a temporary one beside
// it.
func (f *File) openBeside(path string) (err error) {
	if f.place, err = findPlace(path); err != nil {
		return err
	}
	if !isNamed(f.place, f.base, f.file) {
		return errors.New("the file was replaced just now")
	}
	if f.isMount(f.file) {
		return errMounted
	}
	was := f.file
	if err := f.openTemp(0o600); err != nil {
		return err
	}
	was.Close()
	return nil
}

// openExisting opens what is there, for NoCreate.
func openExisting(name, path string) (*File, error) {
	fd, err := unix.Open(path, openFlags, 0)
	switch {
	case path == "":
		return nil, couldNotOpen(name, errNoName)
	case err != nil && kind(path) == unix.S_IFBLK:
		return nil, couldNotOpen(name, notWritable(err))
	case err != nil && kind(path) == unix.S_IFIFO:
		return nil, couldNotOpen(name, notRegular(path))
	case err != nil:
		return nil, couldNotOpen(name, couldNotOpen(path, worded(err)))
	}
	f := &File{file: os.NewFile(uintptr(fd), path)}
	if err := f.use(path); err != nil {
		f.close()
		return nil, couldNotOpen(name, err)
	}
	return f, nil
}

// use has f be written as it is.
func (f *File) use(path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.file.Fd()), &st); err != nil {
		return worded(err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.size = st.Size
		return f.lock(path)
	case unix.S_IFBLK:
		return f.useDevice(path)
	case unix.S_IFCHR:
		f.device = true
		return nil
	}
	return notRegular(path)
}

func notRegular(path string) error {
	return fmt.Errorf("'file' driver requires '%s' to be a regular file", safetext.Escape(path))
}

// useDevice has f, open on a block device, be written as it is.
func (f *File) useDevice(path string) error {
	f.device = true
	if readOnly, err := unix.IoctlGetInt(int(f.file.Fd()), unix.BLKROGET); err == nil && readOnly != 0 {
		return notWritable(unix.EACCES) // Linux lets it be opened for writing
	}
	if err := f.lock(path); err != nil {
		return err
	}
	var err error
	if f.size, err = unix.Seek(int(f.file.Fd()), 0, unix.SEEK_END); err != nil {
		return fmt.Errorf("find the size of '%s': %w", safetext.Escape(path), worded(err))
	}
	return nil
}

// lock takes the writer's locks on what stands under path, by a descriptor of
// their own, since they need one that can be read from. A file that may be
// written but not read goes without.
func (f *File) lock(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	f.locks = os.NewFile(uintptr(fd), path)
	return localfile.LockWrite(f.locks, path)
}

// kind returns the type of what stands under path, 0 when there is nothing.
func kind(path string) uint32 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Mode & unix.S_IFMT
}

func notWritable(err error) error {
	return fmt.Errorf("The device is not writable: %w", worded(err))
}
