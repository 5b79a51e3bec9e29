//go:build linux && amd64

package kvm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl makes a request that takes a plain value.
func ioctl(fd int, request, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// ioctlPointer makes a request that reads or writes *p.
func ioctlPointer[T any](fd int, request uintptr, p *T) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// address returns where in the VMM's address space b begins. b must lie
// outside the Go heap.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// asRunState returns the structure at the start of a virtual processor's
// shared page.
func asRunState(page []byte) *runState {
	if len(page) < int(unsafe.Sizeof(runState{})) {
		panic("kvm: the shared page of a virtual processor is too short")
	}
	return (*runState)(unsafe.Pointer(unsafe.SliceData(page)))
}

// word returns the 8-byte word at offset, a multiple of 8, of b, for atomic
// access.
func word(b []byte, offset uint64) *uint64 {
	return (*uint64)(unsafe.Pointer(unsafe.SliceData(b[offset : offset+8])))
}

// futex carries out FUTEX_WAIT and FUTEX_WAKE, private to the VMM, on the word
// in the first four bytes of b.
func futex(b []byte, op int, value uint32, timeout *unix.Timespec) (uint64, unix.Errno) {
	p := unsafe.SliceData(b[:4])
	n, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(p)), uintptr(op),
		uintptr(value), uintptr(unsafe.Pointer(timeout)), 0, 0)
	return uint64(n), errno
}

// codeBetween returns the machine code from start up to end.
func codeBetween(start, end uintptr) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&start))), end-start)
}

// yield lets another thread run.
func yield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// unmap gives memory back that was mapped, alone or as part of something
// larger.
func unmap(b []byte) {
	if len(b) > 0 {
		unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
	}
}
