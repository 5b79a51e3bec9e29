//go:build linux && amd64

package kvm

import (
	"sync"

	"golang.org/x/sys/unix"

	"instar/job"
	"instar/job/wall"
)

// firstGranted is the lowest number of a descriptor that is not there from the
// start.
const firstGranted = wall.ControlDescriptor + 1

// A file is what a descriptor of the guest stands for. Those that the VMM
// grants have a descriptor of the VMM behind them.
type file struct {
	kind    wall.Kind
	fd      int    // of the VMM; -1 if there is none
	ceiling uint64 // for outputs, the first offset that may not be written to
	// reserves says that space is allocated before a long write.
	reserves bool

	uses   int // calls that are using it, under files.mu
	closed bool
}

// files are the guest's descriptors.
type files struct {
	mu    sync.Mutex
	table []*file
}

func newFiles() *files {
	return &files{table: []*file{
		0:                      {kind: wall.Standard, fd: -1},
		1:                      {kind: wall.Standard, fd: -1},
		2:                      {kind: wall.Standard, fd: -1},
		wall.ControlDescriptor: {kind: wall.Control, fd: -1},
	}}
}

// add gives f the lowest free number.
func (t *files) add(f *file) (int, unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := firstGranted; i < len(t.table); i++ {
		if t.table[i] == nil {
			t.table[i] = f
			return i, 0
		}
	}
	if len(t.table) >= wall.MaxDescriptors {
		return 0, unix.EMFILE
	}
	t.table = append(t.table, f)
	return len(t.table) - 1, 0
}

// grant makes fd, which it takes over, a descriptor of the guest's.
func (t *files) grant(fd int, g *job.Grant) (int, unix.Errno) {
	f := &file{kind: wall.Input, fd: fd}
	if g.Access == job.Write {
		f.kind = wall.Output
		f.ceiling = uint64(max(g.Ceiling, 0))
		f.reserves = g.Reserve
	}
	number, errno := t.add(f)
	if errno != 0 {
		unix.Close(fd)
	}
	return number, errno
}

// open finds the files that c's arguments name in r. They stay open until
// releaseAll.
func (t *files) open(r *request, c *wall.Call) unix.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range c.Args {
		a := &c.Args[i]
		if a.Descriptor == 0 {
			continue
		}
		f := t.at(r.args[a.Index])
		if f == nil || f.kind&a.Descriptor == 0 {
			return unix.EBADF
		}
		f.uses++
		r.files[a.Index] = f
	}
	return 0
}

// at returns the file of that number, or nil.
func (t *files) at(number uint64) *file {
	if n := uint64(uint32(number)); n < uint64(len(t.table)) { // the kernel looks at 32 bits as well
		return t.table[n]
	}
	return nil
}

// releaseAll ends r's use of its files.
func (t *files) releaseAll(r *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range r.files {
		if f != nil {
			f.uses--
			f.closeUnused()
		}
	}
}

// remove frees the number. What was granted is closed as soon as no call uses
// it any more.
func (t *files) remove(number uint64) unix.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.at(number)
	if f == nil {
		return unix.EBADF
	}
	t.table[uint32(number)] = nil
	f.closed = true
	f.closeUnused()
	return 0
}

func (f *file) closeUnused() {
	if f.closed && f.uses == 0 && f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
	}
}

// mayWrite reports whether n bytes may be written to the output from offset on.
func (f *file) mayWrite(offset, n uint64) bool {
	return offset <= f.ceiling && n <= f.ceiling-offset
}
