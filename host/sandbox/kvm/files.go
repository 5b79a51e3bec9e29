//go:build linux && amd64

package kvm

import (
	"sync"

	"golang.org/x/sys/unix"

	"instar/job"
)

// The guest's descriptors that are there from the start. The first three are
// there because a Go program insists on them.
const (
	inputDescriptor   = 0
	outputDescriptor  = 1
	errorDescriptor   = 2
	controlDescriptor = 3
	firstGranted      = 4
)

// maxFiles bounds how many descriptors the guest can have.
const maxFiles = 4096

// A file is what a descriptor of the guest stands for. Those that the VMM
// grants have a descriptor of the VMM behind them.
type file struct {
	kind    fileKind
	fd      int    // of the VMM; -1 if there is none
	ceiling uint64 // for outputs, the first offset that may not be written to

	uses   int // calls that are using it, under files.mu
	closed bool
}

// fileKind says what a file may be used for.
type fileKind int

const (
	standard fileKind = iota // what is written is kept for the report
	channel                  // the control channel
	event                    // an eventfd
	polled                   // an epoll instance
	input                    // granted for reading
	output                   // granted for writing
)

// files are the guest's descriptors.
type files struct {
	mu    sync.Mutex
	table []*file
}

func newFiles() *files {
	return &files{table: []*file{
		inputDescriptor:   {kind: standard, fd: -1},
		outputDescriptor:  {kind: standard, fd: -1},
		errorDescriptor:   {kind: standard, fd: -1},
		controlDescriptor: {kind: channel, fd: -1},
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
	if len(t.table) >= maxFiles {
		return 0, unix.EMFILE
	}
	t.table = append(t.table, f)
	return len(t.table) - 1, 0
}

// grant makes fd, which it takes over, a descriptor of the guest's.
func (t *files) grant(fd int, g *job.Grant) (int, unix.Errno) {
	f := &file{kind: input, fd: fd}
	if g.Access == job.Write {
		f.kind = output
		f.ceiling = uint64(max(g.Ceiling, 0))
	}
	number, errno := t.add(f)
	if errno != 0 {
		unix.Close(fd)
	}
	return number, errno
}

// use returns the file of that number if it is of one of the kinds; the caller
// must release it. While it is in use its descriptor stays open.
func (t *files) use(number uint64, kinds ...fileKind) (*file, unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := uint64(uint32(number)) // the kernel looks at 32 bits as well
	if n >= uint64(len(t.table)) || t.table[n] == nil {
		return nil, unix.EBADF
	}
	f := t.table[n]
	for _, k := range kinds {
		if f.kind == k {
			f.uses++
			return f, 0
		}
	}
	return nil, unix.EBADF
}

// release ends a use.
func (t *files) release(f *file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.uses--
	f.closeUnused()
}

// remove frees the number. What was granted is closed as soon as no call uses
// it any more.
func (t *files) remove(number uint64) unix.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := uint64(uint32(number))
	if n < firstGranted || n >= uint64(len(t.table)) || t.table[n] == nil {
		return unix.EBADF
	}
	f := t.table[n]
	t.table[n] = nil
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
