//go:build linux

package kvm

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A machine is the virtual machine of one guest.
type machine struct {
	kvm, vm              int
	runSize              int
	cpuid                cpuidTable
	fsgsbase, xsave, avx bool
	syncRegs             bool
	memory               *memory
	guest                *guest

	// ring3 says that SYSCALL stays in ring 3, as on a KVM that works on page
	// tables alone. Known when probed is set.
	ring3, probed atomic.Bool

	mu    sync.Mutex
	limit int     // of virtual processors
	cpus  []*vcpu // all of them
	idle  []*vcpu // those whose thread has ended
	live  int     // threads
	next  uint64  // the next thread's number
}

// capabilities that the machine cannot do without.
var capabilities = []struct {
	number uintptr
	name   string
}{
	{capUserMemory, "user memory"},
	{capExtCPUID, "CPUID"},
	{capXCRs, "extended control registers"},
	{capReadOnlyMem, "read-only memory"},
}

// openKVM opens the device and checks that it is a KVM that can be used here.
func openKVM() (int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, unusable(err)
	}
	if err := checkKVM(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func checkKVM(fd int) error {
	version, err := ioctl(fd, kvmGetAPIVersion, 0)
	if err != nil {
		return &UnusableError{Err: fmt.Errorf("%s is not KVM: %w", device, err)}
	}
	if version != apiVersion {
		return &UnusableError{Err: fmt.Errorf("KVM has version %d of its API, not %d", version, apiVersion)}
	}
	for _, c := range capabilities {
		if n, err := ioctl(fd, kvmCheckExtension, c.number); err != nil || n == 0 {
			return &UnusableError{Err: fmt.Errorf("KVM cannot do %s here", c.name)}
		}
	}
	return nil
}

// newMachine makes a machine without processors on an open /dev/kvm.
func newMachine(kvm int, m *memory) (*machine, error) {
	v := &machine{kvm: kvm, memory: m, limit: MaxVCPUs}
	var err error
	if v.vm, err = createVM(kvm); err != nil {
		return nil, fmt.Errorf("make a virtual machine: %w", err)
	}
	if v.runSize, err = ioctl(kvm, kvmGetVCPUMmapSize, 0); err != nil {
		return nil, fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE: %w", err)
	}
	v.cpuid.Count = maxCPUIDEntries
	if _, err := ioctlPointer(kvm, kvmGetSupportedCPUID, &v.cpuid); err != nil {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %w", err)
	}
	n, _ := ioctl(kvm, kvmCheckExtension, capSyncRegs)
	v.syncRegs = n&syncRegs != 0
	if n, _ := ioctl(kvm, kvmCheckExtension, capMaxVCPUs); n > 0 {
		v.limit = min(v.limit, n)
	}
	v.features()
	regions := []struct {
		physical uint64
		b        []byte
		flags    uint32
	}{
		{systemPhysical, m.system, 0},
		{imagePhysical, m.image, memReadOnly},
		{ramPhysical, m.ram, 0},
	}
	for slot, r := range regions {
		if len(r.b) == 0 {
			continue
		}
		region := memoryRegion{
			Slot: uint32(slot), Flags: r.flags, GuestPhysical: r.physical,
			Size: uint64(len(r.b)), UserAddress: address(r.b),
		}
		if _, err := ioctlPointer(v.vm, kvmSetUserMemoryRegion, &region); err != nil {
			return nil, fmt.Errorf("KVM_SET_USER_MEMORY_REGION: %w", err)
		}
	}
	return v, nil
}

// createVM makes a virtual machine. The kernel may be interrupted in it.
func createVM(kvm int) (int, error) {
	for {
		fd, err := ioctl(kvm, kvmCreateVM, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// features notes what the processor can do, from CPUID: AMD64 Architecture
// Programmer's Manual, volume 3, appendix E.
func (v *machine) features() {
	for _, e := range v.cpuid.Entries[:min(v.cpuid.Count, maxCPUIDEntries)] {
		switch {
		case e.Function == 1:
			v.xsave = e.ECX&(1<<26) != 0
			v.avx = e.ECX&(1<<28) != 0
		case e.Function == 7 && e.Index == 0:
			v.fsgsbase = e.EBX&1 != 0
		}
	}
}

// steadyCounter reports whether the time stamp counter runs at one rate
// whatever the processor does (invariant TSC).
func (v *machine) steadyCounter() bool {
	for _, e := range v.cpuid.Entries[:min(v.cpuid.Count, maxCPUIDEntries)] {
		if e.Function == 0x80000007 {
			return e.EDX&(1<<8) != 0
		}
	}
	return false
}

// Offsets in the system region.
const (
	callPageOffset = 1 * pageSize
	clockOffset    = 2 * pageSize
	vdsoOffset     = 3 * pageSize
	tablesOffset   = 4 * pageSize
	handlersOffset = 5 * pageSize
	tasksOffset    = 16 * pageSize
	pagesOffset    = tasksOffset + MaxVCPUs*pageSize // page tables from here on
)

// probeOffset is where in the call page the probe lies.
const probeOffset = 1024

// newSpace returns the guest's address space with the special pages in it.
func newSpace(m *memory) (*space, error) {
	s := &space{memory: m, ram: newRAM(m.ram, m.limit), table: newPageTable(m.system, pagesOffset), floor: minAddress}
	clockStart, probeStart, end := guestCode()
	copy(m.system[callPageOffset:], callPage())
	copy(m.system[callPageOffset+probeOffset:], codeBetween(probeStart, end))
	copy(m.system[vdsoOffset:], vdsoImage(codeBetween(clockStart, probeStart)))
	copy(m.system[tablesOffset:], descriptorTables())
	copy(m.system[handlersOffset:], faultHandlers())
	for _, page := range []struct{ address, physical, flags uint64 }{
		{callPageAddress, callPageOffset, pteUser},
		{clockAddress, clockOffset, pteUser | pteNoExec},
		{vdsoAddress, vdsoOffset, pteUser},
		{bellAddress, bellPhysical, pteUser | pteWrite | pteNoExec},
		{tablesAddress, tablesOffset, pteNoExec},
		{handlersAddress, handlersOffset, 0},
		{faultBellAddress, faultPhysical, pteWrite | pteNoExec},
	} {
		if err := s.mapShared(page.address, page.physical, page.flags); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// prepareStack lays down the first thread's stack and returns the stack
// pointer.
func (s *space) prepareStack(args, env []string, vdso bool) (uint64, error) {
	var random [randomSize]byte
	if _, err := rand.Read(random[:]); err != nil {
		return 0, err
	}
	v := interval{stackTop - stackSize, stackTop}
	if errno := s.populate(v); errno != 0 {
		return 0, errno
	}
	pointer, b := initialStack(stackTop, args, env, vdso, random)
	return pointer, s.put(pointer, b)
}

// begin makes the first thread, which begins at the probe and goes on at entry.
func (v *machine) begin(entry, stack uint64) (*vcpu, error) {
	c, err := v.take()
	if err != nil {
		return nil, &UnusableError{Err: err}
	}
	c.entry = entry
	return c, c.start(&registers{RIP: callPageAddress + probeOffset, RSP: stack, RFLAGS: flagReserved | flagInterrupt}, 0)
}

func (v *machine) nextThread() uint64 {
	v.next++
	return v.next
}

// settle takes note of where SYSCALL leads, from the first one, and starts the
// guest's clock by the counter that the probe read.
func (v *machine) settle(c *vcpu, r *registers) error {
	var s systemRegisters
	if _, err := ioctlPointer(c.fd, kvmGetSregs, &s); err != nil {
		return fmt.Errorf("KVM_GET_SREGS: %w", err)
	}
	if s.CS.DPL == 3 {
		v.ring3.Store(true)
		copy(v.memory.system[callPageOffset:], ring3CallPage())
	}
	if v.guest.clock.khz != 0 {
		for i, w := range v.guest.clock.parameters(r.RBX) {
			binary.LittleEndian.PutUint64(v.memory.system[clockOffset+8*i:], w)
		}
	}
	v.probed.Store(true)
	return nil
}

// spawn implements processors.
func (v *machine) spawn(parent *thread, stack, fsBase uint64) (uint64, unix.Errno) {
	c, err := v.take()
	if err != nil {
		return 0, unix.EAGAIN
	}
	child := *parent.cpu.registers()
	child.RAX = 0
	child.RSP = stack
	// At the return from clone the child is where its parent is, in ring 3.
	child.RIP = child.RCX
	child.RFLAGS = userFlags(child.R11)
	if err := c.start(&child, fsBase); err != nil {
		return 0, unix.EAGAIN
	}
	id := c.thread.id
	go c.run()
	return id, 0
}

// take returns a virtual processor with a new thread on it.
func (v *machine) take() (*vcpu, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var c *vcpu
	if last := len(v.idle) - 1; last >= 0 {
		c = v.idle[last]
		v.idle = v.idle[:last]
	} else {
		var err error
		if c, err = v.newVCPU(); err != nil {
			return nil, err
		}
	}
	v.live++
	c.bind(v.nextThread())
	return c, nil
}

// exit implements processors.
func (v *machine) exit(t *thread) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.live--
	return v.live == 0
}

// park keeps a processor whose thread has ended for the next thread.
func (v *machine) park(c *vcpu) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.idle = append(v.idle, c)
}

// setFSBase implements processors.
func (v *machine) setFSBase(t *thread, base uint64) unix.Errno {
	m := msrs{Count: 1, Entries: [4]msr{{Index: msrFSBase, Data: base}}}
	if n, err := ioctlPointer(t.cpu.fd, kvmSetMSRs, &m); n != 1 || err != nil {
		return unix.EIO
	}
	return 0
}

// userFlags returns what of a saved RFLAGS the guest may have: the status
// flags and nothing that touches ring 0.
func userFlags(saved uint64) uint64 {
	const status = 1<<0 | 1<<2 | 1<<4 | 1<<6 | 1<<7 | flagDirection | 1<<11
	return saved&status | flagReserved | flagInterrupt
}

const device = "/dev/kvm"

func unusable(err error) error {
	e := &UnusableError{Err: err}
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.Err = fmt.Errorf("there is no %s", device)
		e.Hint = "enable virtualization in the firmware, load the module kvm_intel or kvm_amd, or pass the device into the container"
	case errors.Is(err, os.ErrPermission):
		e.Err = fmt.Errorf("%s may not be opened: %w", device, err)
		e.Hint = "add the user to the group kvm"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Err = fmt.Errorf("%s has no driver behind it: %w", device, err)
		e.Hint = "load the module kvm_intel or kvm_amd; inside a virtual machine, enable nested virtualization"
	default:
		e.Err = fmt.Errorf("open %s: %w", device, err)
	}
	return e
}

// threads returns the threads that run now.
func (v *machine) threads() []*thread {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]*thread, 0, len(v.cpus))
	for _, c := range v.cpus {
		all = append(all, c.thread)
	}
	return all
}

// count returns the number of virtual processors.
func (v *machine) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.cpus)
}

// counterRate returns the rate of the guest's time stamp counter in kHz, or 0.
func (v *machine) counterRate() uint64 {
	n, err := ioctl(v.vm, kvmCheckExtension, capTSCKHz)
	if err != nil || n == 0 {
		return 0
	}
	khz, err := ioctl(v.vm, kvmGetTSCKHz, 0)
	if err != nil || khz <= 0 {
		return 0
	}
	return uint64(khz)
}
