// Package output makes the file that an image is written to, and puts it under
// its name when it is complete: a run that fails or is killed leaves what
// stood there before.
//
// A regular file is written beside its name and then renamed. Where that
// cannot be, because the folder lets no other file be made or the file itself
// is mounted, it is written in place, and what a failed run wrote is removed.
// Devices, and everything with Options.NoCreate, are written in place.
//
// An output may consist of several files, which are made and replaced in the
// same way. They take their names together when all is complete: what stood
// under them is kept until then, where the file system can exchange two files.
// In between, nothing stands under the name of the output itself: whoever is
// killed there leaves no mixture that looks complete.
package output

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/safetext"
	"instar/internal/strerror"
)

// Options say how the output is to be made.
type Options struct {
	// NoCreate writes into the file or device that is there (-n), which keeps
	// what is not written to.
	NoCreate bool
	// Size is how long the output will be at least, in bytes: a device that is
	// shorter is refused. An output with a header has at least one byte. It does
	// not count with NoCreate: see [File.Size].
	Size int64
	// Extra are the paths of the other files that the output is to consist of;
	// there are none with NoCreate. All come under their names together: the one
	// that is named last, when it is certain that the others are there.
	Extra []string
}

// A CreateError says that the output could not be made. qemu-img puts what it
// was doing before the text: "OUT: error while creating output image: ".
type CreateError struct{ Err error }

func (e *CreateError) Error() string { return e.Err.Error() }
func (e *CreateError) Unwrap() error { return e.Err }

// A File is an output that is being written.
type File struct {
	place           // its name in the end; not set when it is never replaced
	file   *os.File // write-only
	temp   string   // the name in the same folder until Commit; "" in place
	inUse  *os.File // locked as long as the file is a temporary one
	failed func(*File) error
	old    *unix.Stat_t // what was there before
	locks  *os.File     // holds the locks on what was there before
	size   int64
	device bool
	done   bool

	aside     string   // the name under which Commit keeps what stood under f's
	asideFile *os.File // locked, so that no other run takes it for a leftover

	extra   []*File // other files that the output consists of
	swapped bool    // of one of these: what stood under its name is under temp
}

// Create makes the output of that name, which may be one of a link, of a file
// to be replaced, of a block device, or new. The error is a *CreateError, or
// has a text that says it all ("Could not open 'x': …", "Unknown protocol
// 'x'"). The caller ends with Commit or Abort.
func Create(name string, o Options) (*File, error) {
	path, err := localfile.Path(name)
	switch {
	case o.NoCreate && err != nil:
		return nil, couldNotOpen(name, err)
	case o.NoCreate:
		return openExisting(name, path)
	case err != nil:
		return nil, err
	}
	f, err := create(path, o)
	if err != nil {
		return nil, &CreateError{Err: err}
	}
	if err := f.createExtra(o.Extra); err != nil {
		f.Abort()
		return nil, &CreateError{Err: err}
	}
	return f, nil
}

// File is what to write to: open for writing only.
func (f *File) File() *os.File { return f.file }

// Direct opens the file once more, for writing past the page cache (O_DIRECT).
// The error says that its file system does not have that.
func (f *File) Direct() (*os.File, error) {
	return localfile.Direct(f.file, unix.O_WRONLY)
}

// Reread opens the file once more, for reading it back.
func (f *File) Reread() (*os.File, error) {
	return localfile.Reopen(f.file, unix.O_RDONLY)
}

// InPlace reports that the file is written under its own name, so that others
// can see it before it is complete.
func (f *File) InPlace() bool { return f.temp == "" }

// Zeroed reports that the output reads as zeros where nothing is written.
func (f *File) Zeroed() bool { return f.size == 0 && !f.device }

// Size is the length in bytes of a device, and of a file opened with NoCreate;
// 0 otherwise.
func (f *File) Size() int64 { return f.size }

// Device reports that the output is a device.
func (f *File) Device() bool { return f.device }

// Commit puts the output under its name, with the mode and, where that is
// permitted, the owner of what it replaces. It does not sync.
func (f *File) Commit() error {
	if f.done {
		return nil
	}
	if err := f.flush(); err != nil {
		return errors.Join(err, f.Abort())
	}
	if len(f.extra) > 0 {
		turn, err := f.takeTurn()
		if err == nil {
			defer turn.Close()
			err = f.setAside()
		}
		if err == nil {
			err = f.swapExtra()
		}
		if err != nil {
			return errors.Join(err, f.Abort())
		}
	}
	if f.temp != "" {
		if err := f.rename(); err != nil {
			return errors.Join(couldNotCreate(f.base, err), f.Abort())
		}
	}
	f.done = true
	defer f.close()
	return errors.Join(f.dropAside(), f.keepExtra())
}

// flush has a file system say what it says when a file is closed: that what was
// written could not be stored (NFS). Afterwards it would be too late.
func (f *File) flush() error {
	for _, f := range append([]*File{f}, f.extra...) {
		fd, err := unix.FcntlInt(f.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("error while closing output image file: %w", worded(err))
		}
	}
	return nil
}

func (f *File) rename() error {
	if f.old != nil {
		if err := f.inherit(); err != nil {
			return err
		}
	}
	return unix.Renameat(f.fd(), f.temp, f.fd(), f.base)
}

// inherit gives the file the owner and mode of the one that it replaces. Where
// it cannot have the group, what that may do is nobody's; where it cannot have
// the owner, it takes on no identity (set-user-ID).
func (f *File) inherit() error {
	fd, mode := int(f.file.Fd()), f.old.Mode&0o7777
	if unix.Fchown(fd, int(f.old.Uid), int(f.old.Gid)) != nil {
		mode &= 0o777
		if unix.Fchown(fd, -1, int(f.old.Gid)) != nil {
			mode &= 0o707
		}
	}
	return unix.Fchmod(fd, mode)
}

// Abort gives the output up. What was written is removed, but from devices and
// with NoCreate. After Commit it does nothing.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	var err error
	switch {
	case f.temp != "":
		err = unix.Unlinkat(f.fd(), f.temp, 0)
	case f.failed != nil:
		err = f.failed(f)
	}
	err = errors.Join(err, f.abortExtra(), f.putBack())
	f.close()
	return err
}

// remove removes a file that was made in place, if it still is there.
func remove(f *File) error {
	if !isNamed(f.place, f.base, f.file) {
		return nil
	}
	return unix.Unlinkat(f.fd(), f.base, 0)
}

// empty leaves nothing in a file that was there before: it was emptied when
// writing in place began.
func empty(f *File) error { return unix.Ftruncate(int(f.file.Fd()), 0) }

// close closes what is open. What that says is no concern of anybody's: see flush.
func (f *File) close() {
	for _, c := range []*os.File{f.file, f.inUse, f.locks, f.asideFile, f.dir} {
		if c != nil {
			c.Close()
		}
	}
}

// Same reports whether name, or what it links to, is the file or block device
// that in is open on. A name under which there is nothing is not, and neither
// is a device without an end: there is nothing in it to be destroyed.
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
	return a.Mode&unix.S_IFMT != unix.S_IFCHR && sameFile(&a, &b), nil
}

// sameFile reports whether two files, or two nodes of one device, are the
// same.
func sameFile(a, b *unix.Stat_t) bool {
	if a.Mode&unix.S_IFMT == unix.S_IFBLK && b.Mode&unix.S_IFMT == unix.S_IFBLK {
		return a.Rdev == b.Rdev
	}
	return a.Dev == b.Dev && a.Ino == b.Ino
}

func couldNotCreate(path string, err error) error {
	return fmt.Errorf("Could not create '%s': %w", safetext.Escape(path), worded(err))
}

func couldNotOpen(name string, err error) error {
	return fmt.Errorf("Could not open '%s': %w", safetext.Escape(name), err)
}

// wordedError is a system error in the words of the C library.
type wordedError struct{ err error }

func worded(err error) error { return wordedError{err} }

func (e wordedError) Error() string { return strerror.Text(e.err) }
func (e wordedError) Unwrap() error { return e.err }
