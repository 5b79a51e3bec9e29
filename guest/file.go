package guest

import (
	"errors"
	"io"
	"sort"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"instar/disk"
	"instar/job"
	"instar/job/wall"
)

// A file is a granted descriptor. It is used by system calls alone: package os
// would ask for more of them than the wall lets through.
type file struct {
	fd       int
	extended bool // see [job.Grant]

	mu   sync.Mutex
	from int64      // runs are all those from there on up to the end of the last
	runs []wall.Run // what the file system said of the file
}

// ReadAt fills p unless the file ends first.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

// Size works for block devices as well.
func (f *file) Size() (int64, error) { return unix.Seek(f.fd, 0, unix.SEEK_END) }

// DataRun remembers what it was told: whoever was told of a hole will ask what
// comes behind it.
func (f *file) DataRun(off int64) (start, end int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.known(off)
	if !ok {
		runs, err := f.seek(off)
		if err != nil {
			return 0, 0, err
		}
		f.from, f.runs = off, runs
		r = runs[0]
	}
	return max(off, r.Start), r.End, nil
}

// known returns the run that off is in, or in the hole before.
func (f *file) known(off int64) (wall.Run, bool) {
	k := sort.Search(len(f.runs), func(k int) bool { return off < f.runs[k].End })
	if off < f.from || k == len(f.runs) {
		return wall.Run{}, false
	}
	return f.runs[k], true
}

// seek asks the file system for a run from off on, or more of them, by descriptor
// offsets that nothing else uses.
func (f *file) seek(off int64) ([]wall.Run, error) {
	ask := seekRun
	if f.extended {
		ask = seekRuns
	}
	runs, err := ask(f.fd, off)
	switch err {
	case unix.ENXIO:
		return nil, io.EOF
	case unix.EINVAL: // a device, or a file system without holes
		return f.allData(off)
	}
	return runs, err
}

func (f *file) allData(off int64) ([]wall.Run, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if off >= size {
		return nil, io.EOF
	}
	return []wall.Run{{Start: off, End: size}}, nil
}

// seekRun asks for one run.
func seekRun(fd int, off int64) ([]wall.Run, error) {
	start, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if err != nil {
		return nil, err
	}
	end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
	return []wall.Run{{Start: start, End: end}}, err
}

// A target is the granted descriptor of the output.
type target struct {
	fd     int
	direct int  // the same, open for direct I/O; -1 is none
	keeps  bool // its length, as a device does
	// reserves says that space is allocated before a long write.
	reserves bool
	extended bool // see [job.Grant]
	// used is set from the first change on: a target that does not keep its
	// length is handed out empty.
	used atomic.Bool
}

func (t *target) WriteAt(p []byte, off int64) (int, error) {
	t.used.Store(true)
	fd := t.fd
	if t.direct >= 0 && isAligned(p, off) {
		fd = t.direct
	} else if t.reserves && len(p) >= job.ReserveFrom {
		// If there is no space, the write says so.
		_ = unix.Fallocate(t.fd, 0, off, int64(len(p)))
	}
	done := 0
	for done < len(p) {
		if fd != t.fd && !isAligned(p[done:], off+int64(done)) {
			fd = t.fd // after a short write
		}
		part := p[done:]
		if t.reserves && fd == t.fd {
			part = part[:min(len(part), job.ReserveSlice)]
		}
		n, err := unix.Pwrite(fd, part, off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrShortWrite
		default:
			done += n
		}
	}
	return done, nil
}

// Truncate sets the length. What is empty is not made empty: ext4 would flush it
// when it is closed.
func (t *target) Truncate(size int64) error {
	if t.keeps || (size == 0 && !t.used.Load()) {
		return nil
	}
	t.used.Store(true)
	return retry(func() error { return unix.Ftruncate(t.fd, size) })
}

func (t *target) Zero(off, n int64) error {
	t.used.Store(true)
	return unsupported(retry(func() error { return unix.Fallocate(t.fd, unix.FALLOC_FL_ZERO_RANGE, off, n) }))
}

// Punch is [disk.Puncher]'s.
func (t *target) Punch(off, n int64) error {
	t.used.Store(true)
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return unsupported(retry(func() error { return unix.Fallocate(t.fd, mode, off, n) }))
}

// CopyFrom is copy_file_range. One call of it stops where the kernel likes.
func (t *target) CopyFrom(src disk.File, srcOff, off, n int64) (int64, error) {
	return t.copyRange(src, srcOff, off, n, 0)
}

// SparseBlock is [disk.SparseCopier]'s.
func (t *target) SparseBlock() int64 {
	if !t.extended {
		return 0
	}
	return wall.SparseBlock
}

// CopySparse is [disk.SparseCopier]'s.
func (t *target) CopySparse(src disk.File, srcOff, off, n int64, holes bool) (int64, error) {
	flags := wall.LeaveZeros
	if holes {
		flags |= wall.SkipHoles
	}
	return t.copyRange(src, srcOff, off, n, flags)
}

func (t *target) copyRange(src disk.File, srcOff, off, n int64, flags int) (int64, error) {
	f, ok := src.(*file)
	if !ok || t.direct >= 0 { // which the kernel would copy through the page cache
		return 0, errors.ErrUnsupported
	}
	t.used.Store(true)
	for {
		done, err := unix.CopyFileRange(f.fd, &srcOff, t.fd, &off, int(n), flags)
		if err != unix.EINTR {
			return int64(max(done, 0)), unsupported(err)
		}
	}
}

func (t *target) Sync() error {
	err := retry(func() error { return unix.Fdatasync(t.fd) })
	if err == unix.EINVAL { // a device with nothing to be synced, as /dev/null
		return nil
	}
	return err
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// unsupported says in one word what the kernel says in several.
func unsupported(err error) error {
	switch err {
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EBADF, unix.EPERM:
		return errors.ErrUnsupported
	}
	return err
}
