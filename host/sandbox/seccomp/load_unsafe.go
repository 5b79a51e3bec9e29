package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ErrUnsupported says that the kernel has no filters for system calls.
var ErrUnsupported = errors.New("the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")

// Supported reports whether the kernel has filters for system calls: then it
// finds fault with the address of one that is nowhere.
func Supported() bool {
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)
	return errno == unix.EFAULT
}

// Load installs the filter for all threads of this process, for good, and sets
// no_new_privs.
func Load(rules []Rule) error {
	if !Supported() {
		return ErrUnsupported
	}
	program, err := Program(rules)
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble the filter: %w", err)
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	// no_new_privs belongs to a thread; the filter takes it along to others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return install(&unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]})
}

func install(program *unix.SockFprog) error {
	// Before Linux 5.7, a thread that cannot be filtered is told by its number.
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH, unix.SECCOMP_FILTER_FLAG_TSYNC} {
		thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(program)))
		switch {
		case errno == unix.EINVAL:
		case errno != 0:
			return fmt.Errorf("install the filter: %w", errno)
		case thread != 0:
			return fmt.Errorf("install the filter: thread %d cannot be filtered", thread)
		default:
			return nil
		}
	}
	return fmt.Errorf("install the filter: %w", unix.EINVAL)
}
