//go:build linux && amd64

package kvm

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
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
	nCPU    int

	stats       stats
	outOfMemory atomic.Bool
	over        sync.Once
	ended       chan ending
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

// args are the six arguments of a system call: RDI, RSI, RDX, R10, R8, R9.
type args [6]uint64

// stats are the figures that a [Report] is made of.
type stats struct {
	calls                    [maxCalls]atomic.Uint64 // by number
	exits                    atomic.Uint64
	read, written, offloaded atomic.Uint64 // bytes
}

// maxCalls is a number above that of every system call.
const maxCalls = 512

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
