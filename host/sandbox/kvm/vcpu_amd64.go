//go:build linux

package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A vcpu is a virtual processor, and carries one thread of the guest.
type vcpu struct {
	machine *machine
	fd      int
	page    []byte    // shared with KVM
	state   *runState // what page holds
	index   uint64
	thread  *thread
	entry   uint64    // where the first thread goes after the probe
	task    []byte    // its task page
	regs    registers // where KVM does not share them
}

// newVCPU makes a virtual processor. The caller holds mu.
func (v *machine) newVCPU() (*vcpu, error) {
	index := uint64(len(v.cpus))
	if index >= uint64(v.limit) {
		return nil, unix.EAGAIN
	}
	fd, err := ioctl(v.vm, kvmCreateVCPU, uintptr(index))
	if err != nil {
		return nil, fmt.Errorf("KVM_CREATE_VCPU: %w", err)
	}
	page, err := unix.Mmap(fd, 0, v.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the state of a virtual processor: %w", err)
	}
	c := &vcpu{machine: v, fd: fd, index: index, page: page, state: asRunState(page)}
	if v.syncRegs {
		c.state.ValidRegs = syncRegs
	}
	if _, err := ioctlPointer(fd, kvmSetCPUID2, &v.cpuid); err != nil {
		return nil, fmt.Errorf("KVM_SET_CPUID2: %w", err)
	}
	if v.xsave {
		x := xcrs{Count: 1, Entries: [16]xcr{{Value: v.xcr0()}}}
		if _, err := ioctlPointer(fd, kvmSetXCRs, &x); err != nil {
			return nil, fmt.Errorf("KVM_SET_XCRS: %w", err)
		}
	}
	m := msrs{Count: 3, Entries: [4]msr{
		{Index: msrSTAR, Data: userBase<<48 | kernelCode<<32},
		{Index: msrLSTAR, Data: callPageAddress},
		{Index: msrSFMASK, Data: flagTrap | flagInterrupt | flagDirection | flagIOPL | flagNested | flagAlign},
	}}
	if n, err := ioctlPointer(fd, kvmSetMSRs, &m); n != 3 || err != nil {
		return nil, fmt.Errorf("KVM_SET_MSRS: %d of 3: %w", n, err)
	}
	if err := c.makeTask(); err != nil {
		return nil, err
	}
	v.cpus = append(v.cpus, c)
	return c, nil
}

func (v *machine) xcr0() uint64 {
	x := uint64(xcr0X87 | xcr0SSE)
	if v.avx {
		x |= xcr0AVX
	}
	return x
}

// makeTask maps the processor's task page.
func (c *vcpu) makeTask() error {
	offset := tasksOffset + c.index*pageSize
	address := tasksAddress + c.index*pageSize
	c.task = c.machine.memory.at(systemPhysical+offset, pageSize)
	copy(c.task, taskPage(address))
	s := c.machine.guest.space
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mapShared(address, systemPhysical+offset, pteWrite|pteNoExec)
}

// bind puts a new thread on the processor.
func (c *vcpu) bind(id uint64) { c.thread = &thread{id: id, cpu: c} }

// start sets the state in which the thread begins: 64-bit mode, ring 3.
func (c *vcpu) start(r *registers, fsBase uint64) error {
	var s systemRegisters
	if _, err := ioctlPointer(c.fd, kvmGetSregs, &s); err != nil {
		return fmt.Errorf("KVM_GET_SREGS: %w", err)
	}
	c.machine.userMode(&s)
	s.FS.Base = fsBase
	s.TR = segment{Base: tasksAddress + c.index*pageSize, Limit: tssSize - 1, Selector: 0x38, Type: 11, Present: 1}
	if _, err := ioctlPointer(c.fd, kvmSetSregs, &s); err != nil {
		return fmt.Errorf("KVM_SET_SREGS: %w", err)
	}
	*c.registers() = *r
	return c.flush()
}

func (v *machine) userMode(s *systemRegisters) {
	s.CR0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0AM | cr0PG
	s.CR3 = pagesOffset
	s.CR4 = cr4PAE | cr4OSFXSR | cr4OSXMMEXCPT
	if v.fsgsbase {
		s.CR4 |= cr4FSGSBASE
	}
	if v.xsave {
		s.CR4 |= cr4OSXSAVE
	}
	s.EFER = eferSCE | eferLME | eferLMA | eferNXE
	s.CS = segment{Limit: 0xffffffff, Selector: userCode, Type: 11, Present: 1, DPL: 3, S: 1, L: 1, G: 1}
	data := segment{Limit: 0xffffffff, Selector: userData, Type: 3, Present: 1, DPL: 3, S: 1, DB: 1, G: 1}
	s.DS, s.ES, s.SS, s.FS, s.GS = data, data, data, data, data
	s.LDT = segment{Unusable: 1}
	s.GDT = descriptorTable{Base: tablesAddress + gdtOffset, Limit: gdtSize - 1}
	s.IDT = descriptorTable{Base: tablesAddress + idtOffset, Limit: idtSize - 1}
}

// registers returns the registers as they were at the exit.
func (c *vcpu) registers() *registers {
	if c.machine.syncRegs {
		return &c.state.Regs
	}
	return &c.regs
}

// fetch brings the registers in, where KVM does not share them.
func (c *vcpu) fetch() error {
	if c.machine.syncRegs {
		return nil
	}
	if _, err := ioctlPointer(c.fd, kvmGetRegs, &c.regs); err != nil {
		return fmt.Errorf("KVM_GET_REGS: %w", err)
	}
	return nil
}

// flush has KVM take over the registers.
func (c *vcpu) flush() error {
	if c.machine.syncRegs {
		c.state.DirtyRegs = syncRegs
		return nil
	}
	if _, err := ioctlPointer(c.fd, kvmSetRegs, &c.regs); err != nil {
		return fmt.Errorf("KVM_SET_REGS: %w", err)
	}
	return nil
}

// run runs the thread until it ends.
func (c *vcpu) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := c.thread
	for !t.done {
		if err := c.enter(); err != nil {
			c.machine.guest.stop(t, Failed, "%v", err)
			return
		}
	}
	c.machine.park(c)
}

// enter runs the guest until it leaves the machine, and deals with why.
func (c *vcpu) enter() error {
	t := c.thread
	t.since.Store(now())
	err := c.runGuest()
	t.since.Store(0)
	if err != nil {
		return err
	}
	g := c.machine.guest
	g.stats.exits.Add(1)
	if err := c.fetch(); err != nil {
		return err
	}
	s := c.state
	if s.ExitReason == exitMMIO && s.MMIO.IsWrite != 0 {
		switch page := s.MMIO.Address &^ (pageSize - 1); {
		case page == faultPhysical:
			c.fault(int(s.MMIO.Address & (pageSize - 1)))
			return nil
		case s.MMIO.Address == bellPhysical && c.atCall():
			return c.serve()
		}
	}
	c.crash()
	return nil
}

func (c *vcpu) runGuest() error {
	for {
		_, err := ioctl(c.fd, kvmRun, 0)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		default:
			return fmt.Errorf("KVM_RUN: %w", err)
		}
	}
}

// atCall reports whether the guest is behind the store of the call page.
func (c *vcpu) atCall() bool {
	m := c.machine
	return c.registers().RIP == callPageAddress+behindStore(m.probed.Load() && m.ring3.Load())
}

// serve carries out the system call for which the guest left the machine, and
// prepares its return.
func (c *vcpu) serve() error {
	m, r := c.machine, c.registers()
	if !m.probed.Load() {
		if err := m.settle(c, r); err != nil {
			return err
		}
		*r = registers{RAX: 0, RCX: c.entry, RSP: r.RSP, RIP: r.RIP, R11: flagReserved | flagInterrupt, RFLAGS: r.RFLAGS}
	} else {
		r.RAX = m.guest.serve(c.thread, r.RAX, args{r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9})
	}
	if m.ring3.Load() {
		r.RIP = r.RCX
		r.RFLAGS = userFlags(r.R11)
	}
	return c.flush()
}

// fault ends the guest for a fault that the processor delivered to a handler.
func (c *vcpu) fault(vector int) {
	// The frame that the processor pushed on the task page: below its end are
	// SS, RSP, RFLAGS, CS and RIP.
	rip := binary.LittleEndian.Uint64(c.task[pageSize-5*8:])
	where := fmt.Sprintf("at %#x", rip)
	if vector == pageFault {
		var s systemRegisters
		if _, err := ioctlPointer(c.fd, kvmGetSregs, &s); err == nil {
			where += fmt.Sprintf(", on access to %#x", s.CR2)
		}
	}
	c.machine.guest.stop(c.thread, Crashed, "%s %s", faultName(vector), where)
}

// crash ends the guest for an exit that no system call makes.
func (c *vcpu) crash() {
	s := c.state
	what := fmt.Sprintf("exit %d", s.ExitReason)
	switch s.ExitReason {
	case exitShutdown:
		what = "a fault"
	case exitIO:
		what = "access to a port"
	case exitHalt:
		what = "hlt"
	case exitMMIO:
		what = fmt.Sprintf("access to physical address %#x, where nothing is,", s.MMIO.Address)
	case exitInternalError:
		what = "an instruction that cannot be carried out"
	case exitFailEntry:
		what = "a state that the processor does not accept"
	}
	c.machine.guest.stop(c.thread, Crashed, "%s at %#x", what, c.registers().RIP)
}

const pageFault = 14

// faultNames are the exceptions: AMD64 Architecture Programmer's Manual, volume
// 2, section 8.2.
var faultNames = map[int]string{
	0: "division error", 1: "debug exception", 3: "breakpoint", 4: "overflow", 5: "bound range",
	6: "invalid instruction", 7: "device not available", 8: "double fault", 10: "invalid TSS",
	11: "segment not present", 12: "stack fault", 13: "general protection fault", pageFault: "page fault",
	16: "floating-point exception", 17: "misaligned access", 18: "machine check", 19: "SIMD exception",
}

func faultName(vector int) string {
	if name, ok := faultNames[vector]; ok {
		return name
	}
	return fmt.Sprintf("exception %d", vector)
}

// epoch is what now counts from.
var epoch = time.Now()

// now returns the nanoseconds since the VMM started, by the monotonic clock.
func now() int64 { return int64(time.Since(epoch)) + 1 }
