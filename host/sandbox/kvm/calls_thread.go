//go:build linux && amd64

package kvm

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// threadFlags are what a new thread must share with the one that makes it.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
	unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// clone starts a thread: a virtual processor of its own.
func (g *guest) clone(t *thread, a args) (uint64, unix.Errno) {
	if a[0] != threadFlags|unix.CLONE_SETTLS {
		g.stop(t, Forbidden, "the guest made the system call clone with flags that make no thread: %#x", a[0])
		return 0, unix.EPERM
	}
	if a[1] >= endOfUserAddress || a[4] >= endOfUserAddress {
		return 0, unix.EPERM
	}
	return g.cpus.spawn(t, a[1], a[4])
}

// exit ends the calling thread, and with the last one the guest.
func (g *guest) exit(t *thread, a args) (uint64, unix.Errno) {
	t.done = true
	if g.cpus.exit(t) {
		g.end(Exited, int(uint8(a[0])), "")
	}
	return 0, 0
}

// exitGroup ends the guest.
func (g *guest) exitGroup(t *thread, a args) (uint64, unix.Errno) {
	t.done = true
	g.end(Exited, int(uint8(a[0])), "")
	return 0, 0
}

// archSetFS is ARCH_SET_FS of arch/x86/include/uapi/asm/prctl.h.
const archSetFS = 0x1002

// archPrctl sets where the thread's local storage is.
func (g *guest) archPrctl(t *thread, a args) (uint64, unix.Errno) {
	if a[0] != archSetFS {
		return 0, unix.EINVAL
	}
	if a[1] >= endOfUserAddress {
		return 0, unix.EPERM
	}
	return 0, g.cpus.setFSBase(t, a[1])
}

// guestPID is the number of the guest's only process.
const guestPID = 1

func (g *guest) getpid(*thread, args) (uint64, unix.Errno) { return guestPID, 0 }

func (g *guest) gettid(t *thread, _ args) (uint64, unix.Errno) { return t.id, 0 }

// schedGetaffinity tells how many processors there are.
func (g *guest) schedGetaffinity(_ *thread, a args) (uint64, unix.Errno) {
	const size = 8
	if a[1] < size {
		return 0, unix.EINVAL
	}
	mask := ^uint64(0)
	if g.nCPU < 64 {
		mask = 1<<g.nCPU - 1
	}
	return size, g.space.copyOut(a[2], binary.LittleEndian.AppendUint64(nil, mask))
}

func (g *guest) schedYield(*thread, args) (uint64, unix.Errno) {
	yield()
	return 0, 0
}

// tgkill is how a thread of the guest ends the guest by a signal.
func (g *guest) tgkill(t *thread, a args) (uint64, unix.Errno) {
	g.stop(t, Crashed, "the guest raised signal %d", uint32(a[2]))
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
func (g *guest) futex(t *thread, a args) (uint64, unix.Errno) {
	op := int(uint32(a[1]))
	if op != futexWait|futexPrivate && op != futexWake|futexPrivate {
		return 0, unix.ENOSYS
	}
	if a[0]%4 != 0 {
		return 0, unix.EINVAL
	}
	views, errno := g.space.view(t.views[:0], a[0], 4, true)
	if errno != 0 {
		return 0, errno
	}
	var timeout *unix.Timespec
	if op == futexWait|futexPrivate && a[3] != 0 {
		timeout, errno = g.timespec(a[3])
		if errno != 0 {
			return 0, errno
		}
	}
	return futex(views[0], op, uint32(a[2]), timeout)
}
