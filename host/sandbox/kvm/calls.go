//go:build linux && amd64

package kvm

import (
	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// A request is a system call as the guest makes it: one of the table, with
// arguments that the table permits.
type request struct {
	thread *thread
	args   args
	// files are what the arguments name that must name a descriptor, and are
	// of the right kinds.
	files [6]*file
}

// args are the six arguments of a system call: RDI, RSI, RDX, R10, R8, R9.
type args [6]uint64

// A handler carries out one system call.
type handler func(g *guest, r *request) (uint64, unix.Errno)

// handlers has one for every call of the table that is carried out.
var handlers = map[uint64]handler{
	unix.SYS_MMAP:    (*guest).mmap,
	unix.SYS_MUNMAP:  (*guest).munmap,
	unix.SYS_MADVISE: (*guest).madvise,

	unix.SYS_CLONE:             (*guest).clone,
	unix.SYS_EXIT:              (*guest).exit,
	unix.SYS_EXIT_GROUP:        (*guest).exitGroup,
	unix.SYS_ARCH_PRCTL:        (*guest).archPrctl,
	unix.SYS_GETTID:            (*guest).gettid,
	unix.SYS_SCHED_GETAFFINITY: (*guest).schedGetaffinity,
	unix.SYS_SCHED_YIELD:       (*guest).schedYield,
	unix.SYS_FUTEX:             (*guest).futex,
	unix.SYS_RT_SIGACTION:      (*guest).nothing,
	unix.SYS_RT_SIGPROCMASK:    (*guest).nothing,
	unix.SYS_SIGALTSTACK:       (*guest).nothing,

	unix.SYS_NANOSLEEP:     (*guest).nanosleep,
	unix.SYS_CLOCK_GETTIME: (*guest).clockGettime,
	unix.SYS_GETRANDOM:     (*guest).getrandom,

	unix.SYS_EPOLL_CREATE1: (*guest).epollCreate,
	unix.SYS_EPOLL_CTL:     (*guest).epollCtl,
	unix.SYS_EPOLL_PWAIT:   (*guest).epollWait,
	unix.SYS_EVENTFD2:      (*guest).eventfd,

	unix.SYS_READ:            (*guest).read,
	unix.SYS_WRITE:           (*guest).write,
	unix.SYS_CLOSE:           (*guest).close,
	unix.SYS_FCNTL:           (*guest).fcntl,
	unix.SYS_RECVMSG:         (*guest).recvmsg,
	unix.SYS_PREAD64:         (*guest).pread,
	unix.SYS_PWRITE64:        (*guest).pwrite,
	unix.SYS_LSEEK:           (*guest).lseek,
	unix.SYS_FTRUNCATE:       (*guest).ftruncate,
	unix.SYS_FALLOCATE:       (*guest).fallocate,
	unix.SYS_FDATASYNC:       (*guest).fdatasync,
	unix.SYS_COPY_FILE_RANGE: (*guest).copyFileRange,
}

// serve carries out the system call that t makes and returns what RAX is to
// be: its result, or the negative of its error number. A call that the table
// does not permit ends the guest.
func (g *guest) serve(t *thread, number uint64, a args) uint64 {
	if number != unix.SYS_NANOSLEEP {
		t.naps = 0
	}
	c := wall.Lookup(number)
	switch {
	case c == nil:
		return g.forbid(t, "system call %d, with which it has no business", number)
	case !c.Permits(a):
		return g.forbid(t, "system call %s with arguments that are not allowed: %#x", c.Name, a)
	}
	g.stats.calls[number].Add(1)
	if c.Refusal != 0 {
		return failure(c.Refusal)
	}
	r := request{thread: t, args: a}
	defer g.files.releaseAll(&r)
	if errno := g.files.open(&r, c); errno != 0 {
		return failure(errno)
	}
	result, errno := handlers[number](g, &r)
	if errno != 0 {
		return failure(errno)
	}
	return result
}

func failure(errno unix.Errno) uint64 { return -uint64(errno) }

// forbid ends the guest for what it made.
func (g *guest) forbid(t *thread, format string, a ...any) uint64 {
	g.stop(t, Forbidden, "it made "+format, a...)
	return failure(unix.ENOSYS)
}

// nothing answers calls about signals, of which the guest gets none.
func (g *guest) nothing(*request) (uint64, unix.Errno) { return 0, 0 }

// callCounts returns how often the guest made each system call, by name.
func (g *guest) callCounts() map[string]uint64 {
	counts := map[string]uint64{}
	for c := range wall.Calls() {
		if n := g.stats.calls[c.Number].Load(); n > 0 {
			counts[c.Name] = n
		}
	}
	return counts
}
