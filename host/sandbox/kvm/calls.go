//go:build linux && amd64

package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A call carries out one system call.
type call func(g *guest, t *thread, a args) (uint64, unix.Errno)

// calls are the system calls of the table, by number.
var calls = map[uint64]call{
	unix.SYS_MMAP:    (*guest).mmap,
	unix.SYS_MUNMAP:  (*guest).munmap,
	unix.SYS_MADVISE: (*guest).madvise,

	unix.SYS_CLONE:             (*guest).clone,
	unix.SYS_EXIT:              (*guest).exit,
	unix.SYS_EXIT_GROUP:        (*guest).exitGroup,
	unix.SYS_ARCH_PRCTL:        (*guest).archPrctl,
	unix.SYS_GETPID:            (*guest).getpid,
	unix.SYS_GETTID:            (*guest).gettid,
	unix.SYS_SCHED_GETAFFINITY: (*guest).schedGetaffinity,
	unix.SYS_SCHED_YIELD:       (*guest).schedYield,
	unix.SYS_FUTEX:             (*guest).futex,
	unix.SYS_RT_SIGACTION:      (*guest).nothing,
	unix.SYS_RT_SIGPROCMASK:    (*guest).nothing,
	unix.SYS_SIGALTSTACK:       (*guest).nothing,
	unix.SYS_TGKILL:            (*guest).tgkill,

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

// refused are the calls that a program makes at its start and can do without,
// and what they are answered with.
var refused = map[uint64]unix.Errno{
	unix.SYS_OPENAT:    unix.ENOENT,
	unix.SYS_PRCTL:     unix.EINVAL,
	unix.SYS_PRLIMIT64: unix.EPERM,
	unix.SYS_UNAME:     unix.ENOSYS,
}

// serve carries out the system call that t makes and returns what RAX is to
// be: its result, or the negative of its error number.
func (g *guest) serve(t *thread, number uint64, a args) uint64 {
	if number < maxCalls {
		g.stats.calls[number].Add(1)
	}
	if number != unix.SYS_NANOSLEEP {
		t.naps = 0
	}
	f, ok := calls[number]
	if !ok {
		errno, ok := refused[number]
		if !ok {
			g.stop(t, Forbidden, "the guest made a system call that it has no business with: %d(%#x, %#x, %#x, %#x, %#x, %#x)", number, a[0], a[1], a[2], a[3], a[4], a[5])
			errno = unix.ENOSYS
		}
		return failure(errno)
	}
	r, errno := f(g, t, a)
	if errno != 0 {
		return failure(errno)
	}
	return r
}

func failure(errno unix.Errno) uint64 { return -uint64(errno) }

// nothing answers calls about signals, of which the guest gets none.
func (g *guest) nothing(*thread, args) (uint64, unix.Errno) { return 0, 0 }

// callCounts returns how often the guest made each system call, by name.
func (g *guest) callCounts() map[string]uint64 {
	counts := map[string]uint64{}
	for number := range g.stats.calls {
		if n := g.stats.calls[number].Load(); n > 0 {
			counts[callName(uint64(number))] = n
		}
	}
	return counts
}

func callName(number uint64) string { return fmt.Sprintf("%d", number) }
