//go:build linux && amd64

package kvm

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// A guest is what the guest's system calls act upon. It knows nothing of
// virtual processors: those are behind cpus.
type guest struct {
	space   *space
	files   *files
	control *control
	poll    *poller
	log     *log
	cpus    processors
	clock   clock
	buffers chan []byte // of copySparse; nil until used

	stats    stats
	shortage atomic.Pointer[Outcome] // what the guest was refused first
	over     sync.Once
	ended    chan ending
}

// What a guest can be refused, which the failure to come is put down to.
var (
	outOfMemory  = OutOfMemory
	outOfThreads = OutOfThreads
)

// newGuest returns a guest whose threads are carried by cpus, with the control
// channel fd.
func newGuest(s *space, cpus processors, controlFD int) (*guest, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	g := &guest{
		space: s, cpus: cpus, files: newFiles(), control: newControl(controlFD), poll: poll, log: new(log),
		ended: make(chan ending, 1), buffers: make(chan []byte, sparseBuffers),
	}
	for range sparseBuffers {
		g.buffers <- nil
	}
	g.stats.calls = map[uint64]*atomic.Uint64{}
	for c := range wall.Calls() {
		g.stats.calls[c.Number] = new(atomic.Uint64)
	}
	return g, nil
}

// processors is what carries threads.
type processors interface {
	// spawn starts a thread that is a copy of the one that asks for it, but
	// for its stack and its FS base, and returns its number.
	spawn(parent *thread, stack, fsBase uint64) (uint64, unix.Errno)
	// setFSBase sets the calling thread's FS base.
	setFSBase(t *thread, base uint64) unix.Errno
	// exit ends the calling thread, and reports whether it was the last one.
	exit(t *thread) bool
}

// A thread is one thread of the guest.
type thread struct {
	id   uint64
	cpu  *vcpu
	done bool

	naps    int          // short sleeps in a row
	monitor bool         // does nothing but look from time to time, see nap
	views   [][]byte     // reused from call to call
	since   atomic.Int64 // when it last entered the guest; 0 while it is outside
}

// stats are the figures that a [Report] is made of.
type stats struct {
	calls                    map[uint64]*atomic.Uint64 // by number; one for each of the table
	exits                    atomic.Uint64
	read, written, offloaded atomic.Uint64 // bytes
}

// An ending is how the guest came to its end.
type ending struct {
	outcome Outcome
	code    int
	detail  string
}

// end ends the guest; the first reason counts.
func (g *guest) end(outcome Outcome, code int, format string, a ...any) {
	g.over.Do(func() { g.ended <- ending{outcome, code, fmt.Sprintf(format, a...)} })
}

// stop ends the guest and the calling thread.
func (g *guest) stop(t *thread, outcome Outcome, format string, a ...any) {
	t.done = true
	g.end(outcome, 1, format, a...)
}
