//go:build linux && amd64

package kvm

import (
	"cmp"
	"encoding/binary"
	"io"
	"math"

	"golang.org/x/sys/unix"

	"instar/internal/zeros"
	"instar/job"
	"instar/job/wall"
)

// maxTransfer bounds what one call moves; callers come back for the rest. The
// kernel takes 1024 pieces in one call (IOV_MAX), more than there are blocks in
// it.
const maxTransfer = 1 << 30

// pread reads from an input straight into the guest's memory.
func (g *guest) pread(r *request) (uint64, unix.Errno) {
	f := r.files[0]
	if r.args[3] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	views, errno := g.space.view(r.thread.views[:0], r.args[1], min(r.args[2], maxTransfer), true)
	r.thread.views = views
	if errno != 0 {
		return 0, errno
	}
	n, err := unix.Preadv(f.fd, views, int64(r.args[3]))
	if err != nil {
		return 0, errnoOf(err)
	}
	g.stats.read.Add(uint64(n))
	return uint64(n), 0
}

// pwrite writes to the output straight from the guest's memory.
func (g *guest) pwrite(r *request) (uint64, unix.Errno) {
	f := r.files[0]
	if r.args[3] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	if !f.mayWrite(r.args[3], r.args[2]) {
		return 0, unix.EFBIG
	}
	views, errno := g.space.view(r.thread.views[:0], r.args[1], min(r.args[2], maxTransfer), false)
	r.thread.views = views
	if errno != 0 {
		return 0, errno
	}
	n, err := f.write(views, int64(r.args[3]), int64(min(r.args[2], maxTransfer)))
	if err != nil {
		return 0, errnoOf(err)
	}
	g.stats.written.Add(uint64(n))
	return uint64(n), 0
}

// write writes n bytes from views; see [job.Grant].
func (f *file) write(views [][]byte, off, n int64) (int, error) {
	if !f.reserves || n < job.ReserveFrom {
		return unix.Pwritev(f.fd, views, off)
	}
	_ = unix.Fallocate(f.fd, 0, off, n) // if there is no space, the write says so
	done := 0
	for _, v := range views {
		for len(v) > 0 {
			n, err := unix.Pwritev(f.fd, [][]byte{v[:min(len(v), job.ReserveSlice)]}, off+int64(done))
			if n <= 0 {
				if done > 0 { // the caller comes back for the rest, and hears why
					err = nil
				}
				return done, err
			}
			v = v[n:]
			done += n
		}
	}
	return done, nil
}

// lseek tells how long an input is and where it has data and holes.
func (g *guest) lseek(r *request) (uint64, unix.Errno) {
	f := r.files[0]
	if r.args[2] == wall.SeekRuns {
		return g.seekRuns(f, r)
	}
	offset, err := unix.Seek(f.fd, int64(r.args[1]), int(r.args[2]))
	return uint64(offset), errnoOf(err)
}

// seekRuns tells of many runs of data at once, which spares the guest a way out
// and back for each.
func (g *guest) seekRuns(f *file, r *request) (uint64, unix.Errno) {
	var array [wall.MaxRuns * wall.RunSize]byte
	runs, off := array[:0], int64(r.args[1])
	for range min(r.args[4], wall.MaxRuns) {
		start, err := unix.Seek(f.fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO && len(runs) > 0 {
			break
		}
		if err == nil {
			off, err = unix.Seek(f.fd, start, unix.SEEK_HOLE)
		}
		if err == nil && off <= start {
			err = unix.EIO
		}
		if err != nil {
			return 0, errnoOf(err)
		}
		runs = binary.LittleEndian.AppendUint64(runs, uint64(start))
		runs = binary.LittleEndian.AppendUint64(runs, uint64(off))
	}
	return uint64(len(runs) / wall.RunSize), g.space.copyOut(r.args[3], runs)
}

// ftruncate sets the output's length.
func (g *guest) ftruncate(r *request) (uint64, unix.Errno) {
	f := r.files[0]
	if r.args[1] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	if !f.mayWrite(0, r.args[1]) {
		return 0, unix.EFBIG
	}
	return 0, errnoOf(unix.Ftruncate(f.fd, int64(r.args[1])))
}

// fallocate allocates, zeroes or punches out a range of the output.
func (g *guest) fallocate(r *request) (uint64, unix.Errno) {
	f := r.files[0]
	if r.args[2] > math.MaxInt64 || r.args[3] > math.MaxInt64 {
		return 0, unix.EINVAL
	}
	if !f.mayWrite(r.args[2], r.args[3]) {
		return 0, unix.EFBIG
	}
	return 0, errnoOf(unix.Fallocate(f.fd, uint32(r.args[1]), int64(r.args[2]), int64(r.args[3])))
}

// fdatasync puts the output on stable storage.
func (g *guest) fdatasync(r *request) (uint64, unix.Errno) {
	return 0, errnoOf(unix.Fdatasync(r.files[0].fd))
}

// copyFileRange has the kernel copy from an input to the output, or copies itself
// if zeros are to be left out. Both offsets are given: no descriptor here has a
// position of its own. With zeros left out they stay as they are.
func (g *guest) copyFileRange(r *request) (uint64, unix.Errno) {
	from, to := r.files[0], r.files[2]
	in, errno := g.offset(r.args[1])
	if errno != 0 {
		return 0, errno
	}
	out, errno := g.offset(r.args[3])
	if errno != 0 {
		return 0, errno
	}
	if !to.mayWrite(uint64(out), r.args[4]) {
		return 0, unix.EFBIG
	}
	if r.args[5]&wall.LeaveZeros != 0 {
		return uint64(g.copySparse(from, to, in, out, int64(min(r.args[4], maxTransfer)), r.args[5]&wall.SkipHoles != 0)), 0
	}
	n, err := unix.CopyFileRange(from.fd, &in, to.fd, &out, int(min(r.args[4], maxTransfer)), 0)
	if err != nil {
		return 0, errnoOf(err)
	}
	g.stats.offloaded.Add(uint64(n))
	if errno := g.space.copyOut(r.args[1], binary.LittleEndian.AppendUint64(nil, uint64(in))); errno != 0 {
		return 0, errno
	}
	return uint64(n), g.space.copyOut(r.args[3], binary.LittleEndian.AppendUint64(nil, uint64(out)))
}

// sparseBuffer is the length of a buffer of copySparse in bytes, and sparseBuffers
// how many there are at the most.
const (
	sparseBuffer  = 2 << 20
	sparseBuffers = 4
)

// copySparse copies n bytes from an input to the output but for blocks of zeros,
// and returns how far it came: up to where something failed, or the input ended.
// The guest goes on from there by itself, and hears why. With skip, holes of the
// input are looked for.
func (g *guest) copySparse(from, to *file, in, out, n int64, skip bool) (done int64) {
	buffer := <-g.buffers
	defer func() { g.buffers <- buffer }()
	if buffer == nil {
		buffer = make([]byte, sparseBuffer)
	}
	for done < n {
		start, end, ok := done, n, true
		if skip {
			start, end, ok = from.blocks(in, done, n)
		}
		if !ok {
			return done
		}
		if done = g.copyBlocks(from, to, in, out, start, end, buffer); done < end {
			return done
		}
	}
	return done
}

// copyBlocks copies from done up to end but for blocks of zeros, and returns how
// far it came.
func (g *guest) copyBlocks(from, to *file, in, out, done, end int64, buffer []byte) int64 {
	for done < end {
		b := buffer[:min(end-done, sparseBuffer)]
		got, err := unix.Preadv(from.fd, [][]byte{b}, in+done)
		if err != nil || got < len(b) {
			return done
		}
		g.stats.read.Add(uint64(got))
		err = zeros.Blocks(b, wall.SparseBlock, func(start, end int) error {
			for start < end {
				n, err := to.write([][]byte{b[start:end]}, out+done+int64(start), int64(end-start))
				if n <= 0 {
					return cmp.Or(err, io.ErrShortWrite)
				}
				g.stats.written.Add(uint64(n))
				start += n
			}
			return nil
		})
		if err != nil {
			return done
		}
		done += int64(got)
	}
	return done
}

// blocks returns the blocks, counted from in, that the next run of data is in, from
// done up to n: both are n if there is none. It fails where the file ends before n.
func (f *file) blocks(in, done, n int64) (start, end int64, ok bool) {
	data, err := unix.Seek(f.fd, in+done, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO:
		size, err := unix.Seek(f.fd, 0, unix.SEEK_END)
		return n, n, err == nil && size >= in+n
	case err != nil: // a file system without holes
		return done, n, true
	}
	hole, err := unix.Seek(f.fd, data, unix.SEEK_HOLE)
	if err != nil || hole <= data {
		hole = math.MaxInt64
	}
	const block = wall.SparseBlock
	start = min((data-in)/block*block, n)
	if hole-in < n {
		n = min((hole-in+block-1)/block*block, n)
	}
	return start, n, true
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
func (g *guest) close(r *request) (uint64, unix.Errno) {
	return 0, g.files.remove(r.args[0])
}

// fcntl tells a program that its first descriptors are there.
func (g *guest) fcntl(r *request) (uint64, unix.Errno) {
	if r.args[1] == unix.F_GETFL {
		return openFlags[r.files[0].kind], 0
	}
	return 0, 0
}

var openFlags = map[wall.Kind]uint64{
	wall.Standard: unix.O_WRONLY,
	wall.Control:  unix.O_RDWR,
	wall.Event:    unix.O_RDWR | unix.O_NONBLOCK,
	wall.Poll:     unix.O_RDWR,
	wall.Input:    unix.O_RDONLY,
	wall.Output:   unix.O_WRONLY,
}
