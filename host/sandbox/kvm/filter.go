//go:build linux && amd64

package kvm

import (
	"errors"
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// lockIn takes from the VMM, all its threads, everything that it does not need
// any more to run the guest. It returns what this kernel could not lock; that
// there is no filter for system calls is an error.
func lockIn(v *machine) (missing []string, err error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("forbid core dumps: %w", err)
	}
	// Landlock with no rule at all: no path, no port, no other process.
	strict := landlock.V6
	if err := strict.Restrict(); err != nil {
		missing = append(missing, fmt.Sprintf("Landlock in the VMM is not complete: %v", err))
		if err := strict.BestEffort().Restrict(); err != nil {
			return nil, fmt.Errorf("lock the VMM by Landlock: %w", err)
		}
	}
	if !seccomp.Supported() {
		return nil, &UnusableError{Err: errors.New("the kernel has no seccomp filters, by which the VMM is locked in")}
	}
	filter := seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: policy(v)}
	if err := seccomp.LoadFilter(filter); err != nil {
		return nil, fmt.Errorf("lock the VMM by seccomp: %w", err)
	}
	return missing, nil
}

// runRequests are the requests that a virtual processor takes while the guest
// runs.
var runRequests = []uint64{
	kvmRun, kvmGetRegs, kvmSetRegs, kvmGetSregs, kvmSetSregs, kvmSetMSRs, kvmSetCPUID2, kvmSetXCRs,
}

// Options of system calls: include/uapi/linux/prctl.h, and the flags with which
// the Go runtime makes a thread.
const (
	goThreadFlags = wall.ThreadFlags &^ unix.CLONE_SETTLS
	prSetVMA      = 0x53564d41
)

// policy is what the VMM may call from then on: requests to the machine, the
// calls by which it serves the guest, and those of the Go runtime. Anything
// else kills it.
func policy(v *machine) seccomp.Policy {
	is := func(argument uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: value}
	}
	no := func(argument uint32, bits uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.BitsNotSet, Value: bits}
	}
	var conditional []seccomp.NameWithConditions
	allow := func(name string, c ...seccomp.Condition) {
		conditional = append(conditional, seccomp.NameWithConditions{Name: name, Conditions: c})
	}
	for _, request := range runRequests {
		allow("ioctl", is(1, request))
	}
	allow("ioctl", is(0, uint64(v.vm)), is(1, kvmCreateVCPU))
	// The Go runtime's memory, and the shared page of a virtual processor.
	allow("mmap", no(2, unix.PROT_EXEC), is(4, 1<<32-1))
	allow("mmap", no(2, unix.PROT_EXEC), is(4, 1<<64-1))
	allow("mmap", is(1, uint64(v.runSize)), is(2, unix.PROT_READ|unix.PROT_WRITE), is(3, unix.MAP_SHARED))
	allow("clone", is(0, goThreadFlags))
	allow("clone", is(0, goThreadFlags|unix.CLONE_SETTLS))
	allow("prctl", is(0, prSetVMA))
	allow("tgkill", is(0, uint64(unix.Getpid())))
	allow("futex", is(1, futexWait|futexPrivate))
	allow("futex", is(1, futexWake|futexPrivate))

	return seccomp.Policy{
		DefaultAction: seccomp.ActionKillProcess,
		Syscalls: []seccomp.SyscallGroup{{
			Action:             seccomp.ActionAllow,
			NamesWithCondtions: conditional,
			Names: []string{
				// For the guest.
				"preadv", "pwritev", "lseek", "ftruncate", "fallocate", "fdatasync", "copy_file_range",
				"recvmsg", "writev", "close", "ppoll", "read", "write", "getrandom", "nanosleep",
				"clock_gettime", "sched_yield",
				// For the Go runtime.
				"munmap", "madvise", "epoll_pwait", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
				"sigaltstack", "gettid", "getpid", "exit", "exit_group",
				// For the kernel, which goes on with a call so that was interrupted
				// when the process was stopped or frozen.
				"restart_syscall",
			},
		}},
	}
}
