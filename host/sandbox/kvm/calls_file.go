//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

// maxTransfer bounds what one call moves; callers come back for the rest.
const maxTransfer = 1 << 30

// pread reads from an input straight into the guest's memory.
func (g *guest) pread(t *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], input)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	if a[3] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	views, errno := g.space.view(t.views[:0], a[1], min(a[2], maxTransfer), true)
	t.views = views
	if errno != 0 {
		return 0, errno
	}
	n, err := unix.Preadv(f.fd, views, int64(a[3]))
	if err != nil {
		return 0, errnoOf(err)
	}
	g.stats.read.Add(uint64(n))
	return uint64(n), 0
}

// pwrite writes to the output straight from the guest's memory.
func (g *guest) pwrite(t *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], output)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	if a[3] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	if !f.mayWrite(a[3], a[2]) {
		return 0, unix.EFBIG
	}
	views, errno := g.space.view(t.views[:0], a[1], min(a[2], maxTransfer), false)
	t.views = views
	if errno != 0 {
		return 0, errno
	}
	n, err := unix.Pwritev(f.fd, views, int64(a[3]))
	if err != nil {
		return 0, errnoOf(err)
	}
	g.stats.written.Add(uint64(n))
	return uint64(n), 0
}

// lseek tells how long an input is and where it has data and holes.
func (g *guest) lseek(_ *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], input)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	whence := uint32(a[2])
	switch whence {
	case unix.SEEK_END, unix.SEEK_DATA, unix.SEEK_HOLE:
	default:
		return 0, unix.EINVAL
	}
	offset, err := unix.Seek(f.fd, int64(a[1]), int(whence))
	return uint64(offset), errnoOf(err)
}

// ftruncate sets the output's length.
func (g *guest) ftruncate(_ *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], output)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	if a[1] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	if !f.mayWrite(0, a[1]) {
		return 0, unix.EFBIG
	}
	return 0, errnoOf(unix.Ftruncate(f.fd, int64(a[1])))
}

// fallocateModes are the modes that keep to the range: allocate it, zero it,
// punch it out.
var fallocateModes = map[uint32]bool{
	0:                         true,
	unix.FALLOC_FL_KEEP_SIZE:  true,
	unix.FALLOC_FL_ZERO_RANGE: true,
	unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE: true,
	unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE: true,
}

// fallocate allocates, zeroes or punches out a range of the output.
func (g *guest) fallocate(_ *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], output)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	if !fallocateModes[uint32(a[1])] {
		return 0, unix.EOPNOTSUPP
	}
	if a[2] > math.MaxInt64 || a[3] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	if !f.mayWrite(a[2], a[3]) {
		return 0, unix.EFBIG
	}
	return 0, errnoOf(unix.Fallocate(f.fd, uint32(a[1]), int64(a[2]), int64(a[3])))
}

// fdatasync puts the output on stable storage.
func (g *guest) fdatasync(_ *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], output)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	return 0, errnoOf(unix.Fdatasync(f.fd))
}

// copyFileRange has the kernel copy from an input to the output. Both offsets
// are given: no descriptor here has a position of its own.
func (g *guest) copyFileRange(_ *thread, a args) (uint64, unix.Errno) {
	from, errno := g.files.use(a[0], input)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(from)
	to, errno := g.files.use(a[2], output)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(to)
	if uint32(a[5]) != 0 {
		return 0, unix.EINVAL
	}
	in, errno := g.offset(a[1])
	if errno != 0 {
		return 0, errno
	}
	out, errno := g.offset(a[3])
	if errno != 0 {
		return 0, errno
	}
	if !to.mayWrite(uint64(out), a[4]) {
		return 0, unix.EFBIG
	}
	n, err := unix.CopyFileRange(from.fd, &in, to.fd, &out, int(min(a[4], maxTransfer)), 0)
	if err != nil {
		return 0, errnoOf(err)
	}
	g.stats.offloaded.Add(uint64(n))
	if errno := g.space.copyOut(a[1], binary.LittleEndian.AppendUint64(nil, uint64(in))); errno != 0 {
		return 0, errno
	}
	return uint64(n), g.space.copyOut(a[3], binary.LittleEndian.AppendUint64(nil, uint64(out)))
}

// offset brings in the file offset that the guest has at address, where the
// new one is to be put.
func (g *guest) offset(address uint64) (int64, unix.Errno) {
	var b [8]byte
	if errno := g.space.copyIn(b[:], address, true); errno != 0 {
		return 0, errno
	}
	offset := binary.LittleEndian.Uint64(b[:])
	if offset > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	return int64(offset), 0
}

// close gives a descriptor back.
func (g *guest) close(_ *thread, a args) (uint64, unix.Errno) {
	return 0, g.files.remove(a[0])
}

// fcntl tells a program that its first descriptors are there.
func (g *guest) fcntl(_ *thread, a args) (uint64, unix.Errno) {
	f, errno := g.files.use(a[0], standard, channel, event, polled, input, output)
	if errno != 0 {
		return 0, errno
	}
	defer g.files.release(f)
	switch uint32(a[1]) {
	case unix.F_GETFD:
		return 0, 0
	case unix.F_GETFL:
		return openFlags[f.kind], 0
	}
	return 0, unix.EINVAL
}

var openFlags = map[fileKind]uint64{
	standard: unix.O_WRONLY,
	channel:  unix.O_RDWR,
	event:    unix.O_RDWR | unix.O_NONBLOCK,
	polled:   unix.O_RDWR,
	input:    unix.O_RDONLY,
	output:   unix.O_WRONLY,
}
