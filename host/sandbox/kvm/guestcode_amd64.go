//go:build linux

package kvm

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// guestCode returns where in the VMM the code lies that is copied into the
// guest: the clock, the probe, and the end of both.
func guestCode() (clock, probe, end uintptr)

// code is machine code in the making.
type code []byte

// store appends a store of AL to an absolute address. Where there is no memory
// the virtual processor leaves the machine (KVM_EXIT_MMIO), with RIP already
// past the instruction.
func (c code) store(address uint64) code {
	return binary.LittleEndian.AppendUint64(append(c, 0xa2), address) // mov %al, address
}

// storeSize is the length of what store appends.
const storeSize = 9

// callPage is where SYSCALL takes the guest.
//
// On hardware it does so in ring 0: the code leaves the machine and then
// returns to ring 3 by SYSRET. Where KVM itself runs on page tables alone, with
// no help of the hardware, the code runs in ring 3, and the VMM sets RIP and
// RFLAGS; there, see [ring3CallPage].
func callPage() code {
	return append(code{}.store(bellAddress), 0x48, 0x0f, 0x07) // sysretq
}

// silentCalls are answered with success without leaving the machine where that
// is slow: a Go program makes more than a hundred of them as it starts. They
// are the ones about signals, of which the guest gets none.
var silentCalls = []uint32{unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_SIGALTSTACK}

// ring3CallPage is callPage for a machine where SYSCALL stays in ring 3.
func ring3CallPage() code {
	var c code
	const test, rest = 7, storeSize + 2
	for i, number := range silentCalls {
		c = binary.LittleEndian.AppendUint32(append(c, 0x3d), number) // cmp number, %eax
		c = append(c, 0x74, byte((len(silentCalls)-1-i)*test+rest))   // je past the rest
	}
	c = append(c.store(bellAddress), 0x0f, 0x0b) // ud2: the VMM never returns here
	return append(c,
		0x31, 0xc0, // xor %eax, %eax
		0xff, 0xe1) // jmp *%rcx
}

// behindStore returns the offset in the call page of the instruction behind
// the store: where RIP is when a system call has left the machine.
func behindStore(ring3 bool) uint64 {
	if ring3 {
		return uint64(len(ring3CallPage())) - 6
	}
	return storeSize
}

// Layout of a page with the GDT and the IDT.
const (
	gdtOffset = 0
	gdtSize   = 8 * 8
	idtOffset = 1024
	vectors   = 32 // of exceptions; anything else is a general protection fault
	idtSize   = vectors * 16
)

// descriptorTables returns the page with the GDT and the IDT. A fault of the
// guest goes through the IDT to its handler in ring 0, which leaves the machine
// for good.
func descriptorTables() []byte {
	b := make([]byte, pageSize)
	le := binary.LittleEndian
	le.PutUint64(b[gdtOffset+kernelCode:], 0x00af_9b00_0000_ffff)
	le.PutUint64(b[gdtOffset+kernelData:], 0x00cf_9300_0000_ffff)
	le.PutUint64(b[gdtOffset+userData&^7:], 0x00cf_f300_0000_ffff)
	le.PutUint64(b[gdtOffset+userCode&^7:], 0x00af_fb00_0000_ffff)
	for v := range uint64(vectors) {
		handler := uint64(handlersAddress) + v*handlerSize
		gate := b[idtOffset+16*v:]
		le.PutUint16(gate[0:], uint16(handler))
		le.PutUint16(gate[2:], kernelCode)
		le.PutUint16(gate[4:], 0x8e01) // present, for ring 0 alone, interrupt gate, stack IST1
		le.PutUint16(gate[6:], uint16(handler>>16))
		le.PutUint32(gate[8:], uint32(handler>>32))
	}
	return b
}

// handlerSize is the distance from one fault handler to the next.
const handlerSize = 16

// faultHandlers returns the page with the fault handlers: each makes a store
// that tells by its address which vector it was.
func faultHandlers() []byte {
	b := make([]byte, pageSize)
	for v := range uint64(vectors) {
		copy(b[v*handlerSize:], append(code{}.store(faultBellAddress+v), 0xf4)) // hlt
	}
	return b
}

// Layout of a virtual processor's task page: the task state segment, and the
// stack that the processor pushes a fault's frame on.
const (
	tssSize = 104
	tssIST1 = 36
	tssIOPB = 102
)

// taskPage returns the task page that is to lie at address.
func taskPage(address uint64) []byte {
	b := make([]byte, tssSize)
	binary.LittleEndian.PutUint64(b[tssIST1:], address+pageSize)
	binary.LittleEndian.PutUint16(b[tssIOPB:], tssSize) // no port is allowed
	return b
}
