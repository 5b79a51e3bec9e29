package jail

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// dropCapabilities takes all capabilities from all threads.
func dropCapabilities() error {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	none := new([2]unix.CapUserData)
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(none)), 0)
	runtime.KeepAlive(header)
	runtime.KeepAlive(none)
	if errno != 0 {
		return errno
	}
	return nil
}

// A sigaction is struct sigaction as the kernel has it on this architecture:
// include/linux/signal_types.h.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// Handlers, and the number of signals: include/uapi/asm-generic/signal.h.
const (
	sigDefault = 0
	sigIgnore  = 1
	signals    = 64
)

// deadly are the signals that end the worker. The others it does not notice:
// they are meant for the process that the user started.
var deadly = map[syscall.Signal]bool{
	unix.SIGABRT: true, unix.SIGBUS: true, unix.SIGFPE: true, unix.SIGILL: true,
	unix.SIGSEGV: true, unix.SIGSYS: true, unix.SIGTERM: true, unix.SIGTRAP: true,
}

// resetSignals takes the runtime's signal handlers away, with which the worker
// would need to return from them: a fault ends it.
func resetSignals() error {
	for s := syscall.Signal(1); s <= signals; s++ {
		if s == unix.SIGKILL || s == unix.SIGSTOP {
			continue
		}
		action := sigaction{handler: sigIgnore}
		if deadly[s] {
			action.handler = sigDefault
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
		if errno != 0 {
			return fmt.Errorf("signal %d: %w", s, errno)
		}
	}
	return nil
}
