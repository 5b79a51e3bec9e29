//go:build linux && amd64

package kvm

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// clone starts a thread: a virtual processor of its own.
func (g *guest) clone(r *request) (uint64, unix.Errno) {
	if r.args[1] >= endOfUserAddress || r.args[4] >= endOfUserAddress {
		return 0, unix.EPERM
	}
	id, errno := g.cpus.spawn(r.thread, r.args[1], r.args[4])
	if errno == unix.EAGAIN {
		g.shortage.CompareAndSwap(nil, &outOfThreads)
	}
	return id, errno
}

// exit ends the calling thread, and with the last one the guest.
func (g *guest) exit(r *request) (uint64, unix.Errno) {
	r.thread.done = true
	if g.cpus.exit(r.thread) {
		g.end(Exited, int(uint8(r.args[0])), "")
	}
	return 0, 0
}

// exitGroup ends the guest.
func (g *guest) exitGroup(r *request) (uint64, unix.Errno) {
	r.thread.done = true
	g.end(Exited, int(uint8(r.args[0])), "")
	return 0, 0
}

// archPrctl sets where the thread's local storage is.
func (g *guest) archPrctl(r *request) (uint64, unix.Errno) {
	if r.args[1] >= endOfUserAddress {
		return 0, unix.EPERM
	}
	return 0, g.cpus.setFSBase(r.thread, r.args[1])
}

func (g *guest) gettid(r *request) (uint64, unix.Errno) { return r.thread.id, 0 }

// schedGetaffinity tells how many processors there are.
func (g *guest) schedGetaffinity(r *request) (uint64, unix.Errno) {
	const size = 8
	if r.args[1] < size {
		return 0, unix.EINVAL
	}
	mask := uint64(1)<<procs() - 1
	return size, g.space.copyOut(r.args[2], binary.LittleEndian.AppendUint64(nil, mask))
}

func (g *guest) schedYield(*request) (uint64, unix.Errno) {
	yield()
	return 0, 0
}

// Operations of futex: include/uapi/linux/futex.h.
const (
	futexWait    = 0
	futexWake    = 1
	futexPrivate = 128
)

// futex waits on a word of the guest's memory, or wakes who does. The word
// stays where it is in the VMM's memory for as long as the guest has it
// mapped, so that it serves as the futex itself.
func (g *guest) futex(r *request) (uint64, unix.Errno) {
	op := int(r.args[1])
	if r.args[0]%4 != 0 {
		return 0, unix.EINVAL
	}
	views, errno := g.space.view(r.thread.views[:0], r.args[0], 4, true)
	if errno != 0 {
		return 0, errno
	}
	var timeout *unix.Timespec
	if op == futexWait|futexPrivate && r.args[3] != 0 {
		timeout, errno = g.timespec(r.args[3])
		if errno != 0 {
			return 0, errno
		}
	}
	return futex(views[0], op, uint32(r.args[2]), timeout)
}
