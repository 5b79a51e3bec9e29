package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

func halt()
func portOut()
func int80()
func breakpoint()
func readCR3() uint64
func writeMSR()
func jump(address uint64)
func jumpCalling(address, number, ret uint64)
func singleStep()
func sysenter()
func hypercall() uint64
func spin()

// load reads the byte at an address.
func load(address uintptr) { sink = *(*byte)(unsafe.Add(nil, address)) }

// store writes a byte at an address.
func store(address uintptr, b byte) { *(*byte)(unsafe.Add(nil, address)) = b }

var sink byte

// Addresses in the machine that an attacker knows.
const (
	kernelAddress = 0xffff_8000_0000_0000
	callPage      = 0x7fff_f000_0000
	clockPage     = callPage + 0x1000
	bellPage      = callPage + 0x3000
	textAddress   = 0x40_1000
)

// attacks each end the guest, or say how they failed to.
var attacks = map[string]func(){
	"halt":                    func() { halt() },
	"port":                    portOut,
	"int 80":                  int80,
	"breakpoint":              breakpoint,
	"read CR3":                func() { readCR3() },
	"write MSR":               writeMSR,
	"single step":             singleStep,
	"sysenter":                sysenter,
	"jump to kernel":          func() { jump(kernelAddress) },
	"jump to handler":         func() { jump(kernelAddress + 0x1000) },
	"jump to nowhere":         func() { jump(0x1234_5678_9abc) },
	"jump to non-canonical":   func() { jump(0x8000_0000_0000_0000) },
	"jump to the stack":       func() { var b [16]byte; jump(uint64(uintptr(unsafe.Pointer(&b)))) },
	"jump into call page":     func() { jump(callPage + 9) },
	"call by jump":            func() { jumpCalling(callPage, syscall.SYS_SOCKET, textAddress) },
	"return to kernel":        func() { jumpCalling(callPage, syscall.SYS_GETTID, kernelAddress) },
	"return to non-canonical": func() { jumpCalling(callPage, syscall.SYS_GETTID, 0x8000_0000_0000_0000) },
	"read kernel":             func() { load(kernelAddress) },
	"write kernel":            func() { store(kernelAddress, 1) },
	"write call page":         func() { store(callPage, 0xc3) },
	"write clock page":        func() { store(clockPage, 1) },
	"write text":              func() { store(textAddress, 0xc3) },
	"ring the bell":           func() { store(bellPage, 1) },
	"read the bell":           func() { load(bellPage) },
	"read nowhere":            func() { load(0x1234_5678_9abc) },
}

func init() {
	// What KVM answers a hypercall from ring 3 with.
	scripts["hypercall"] = func(map[int]int) string { return fmt.Sprint(int64(hypercall())) }
	for name, attack := range attacks {
		scripts[name] = func(map[int]int) string {
			attack()
			return fmt.Sprintf("%s went through", name)
		}
	}
}
