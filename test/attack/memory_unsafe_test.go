//go:build linux && amd64

package attack

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// keep holds on to what addresses were taken of.
var keep [][]byte

func addressOf(b []byte) uintptr {
	keep = append(keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// programAddress returns the address of the page of the program's code that a
// function is on.
func programAddress() uintptr { return reflect.ValueOf(outcome).Pointer() &^ 4095 }

// iovecs returns two struct iovec for eight bytes each.
func iovecs(local, remote uintptr) []byte {
	var b []byte
	for _, address := range []uintptr{local, remote} {
		b = binary.LittleEndian.AppendUint64(b, uint64(address))
		b = binary.LittleEndian.AppendUint64(b, 8)
	}
	return b
}

// secretAddress returns where s is.
func secretAddress(s *uint64) uint64 { return uint64(uintptr(unsafe.Pointer(s))) }

// loadFilter installs a filter for system calls in all threads of the test.
func loadFilter(program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	p := &unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(p)))
	if errno != 0 || thread != 0 {
		return fmt.Errorf("filter the test: %w, thread %d", errno, thread)
	}
	return nil
}
