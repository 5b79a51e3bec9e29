//go:build cgo

package jail

import (
	"golang.org/x/sys/unix"

	"instar/host/sandbox/seccomp"
)

// cLibrary says that the program is built with cgo: threads are the C
// library's, and it has ways of its own to make them.
const cLibrary = true

// cThreads are the flags by which the C library makes a thread.
const cThreads = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
	unix.CLONE_SYSVSEM | unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID

// Operations of futex: include/uapi/linux/futex.h.
const (
	futexWaitBitset = 9 | 128
	futexRealtime   = 256
)

// cCalls are what the C library needs beyond the table: memory that is made
// writable in a second step, flags that say what memory is for, and registering
// its threads. As in the table, nothing is executable and no thread is a
// process.
var cCalls = []seccomp.Rule{
	{Number: unix.SYS_CLONE, Ways: [][]seccomp.Condition{{seccomp.Equal(0, cThreads)}}},
	{Number: unix.SYS_CLONE3, Errno: unix.ENOSYS},
	{Number: unix.SYS_MMAP, Ways: [][]seccomp.Condition{
		{seccomp.Only(2, unix.PROT_READ|unix.PROT_WRITE), seccomp.Equal(3, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_STACK)},
		{seccomp.Only(2, unix.PROT_READ|unix.PROT_WRITE), seccomp.Equal(3, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)},
	}},
	{Number: unix.SYS_MPROTECT, Ways: [][]seccomp.Condition{{seccomp.Only(2, unix.PROT_READ|unix.PROT_WRITE)}}},
	{Number: unix.SYS_BRK, Errno: unix.ENOMEM},
	{Number: unix.SYS_FUTEX, Ways: [][]seccomp.Condition{
		{seccomp.Equal(1, futexWaitBitset)},
		{seccomp.Equal(1, futexWaitBitset|futexRealtime)},
	}},
	{Number: unix.SYS_SET_ROBUST_LIST},
	{Number: unix.SYS_RSEQ},
	{Number: unix.SYS_SCHED_GETAFFINITY},
}
