//go:build linux && amd64

package kvm

// registers mirrors struct kvm_regs.
type registers struct {
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64
}

// segment mirrors struct kvm_segment.
type segment struct {
	Base                      uint64
	Limit                     uint32
	Selector                  uint16
	Type, Present, DPL, DB    uint8
	S, L, G, AVL, Unusable, _ uint8
}

// descriptorTable mirrors struct kvm_dtable.
type descriptorTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// systemRegisters mirrors struct kvm_sregs.
type systemRegisters struct {
	CS, DS, ES, FS, GS, SS, TR, LDT segment
	GDT, IDT                        descriptorTable
	CR0, CR2, CR3, CR4, CR8         uint64
	EFER, APICBase                  uint64
	InterruptBitmap                 [4]uint64
}

// memoryRegion mirrors struct kvm_userspace_memory_region.
type memoryRegion struct {
	Slot, Flags   uint32
	GuestPhysical uint64
	Size          uint64
	UserAddress   uint64
}

// msrs mirrors struct kvm_msrs with the entries that follow it.
type msrs struct {
	Count, _ uint32
	Entries  [4]msr
}

// msr mirrors struct kvm_msr_entry.
type msr struct {
	Index, _ uint32
	Data     uint64
}

// xcrs mirrors struct kvm_xcrs.
type xcrs struct {
	Count, Flags uint32
	Entries      [16]xcr
	_            [16]uint64
}

// xcr mirrors struct kvm_xcr.
type xcr struct {
	Register, _ uint32
	Value       uint64
}

// maxCPUIDEntries is KVM_MAX_CPUID_ENTRIES of current kernels.
const maxCPUIDEntries = 256

// cpuidTable mirrors struct kvm_cpuid2 with the entries that follow it.
type cpuidTable struct {
	Count, _ uint32
	Entries  [maxCPUIDEntries]cpuidEntry
}

// cpuidEntry mirrors struct kvm_cpuid_entry2.
type cpuidEntry struct {
	Function, Index, Flags uint32
	EAX, EBX, ECX, EDX     uint32
	_                      [3]uint32
}

// runState mirrors struct kvm_run, the page that a virtual processor shares
// with the VMM, as far as its registers. The union in it is spelled for
// KVM_EXIT_MMIO.
type runState struct {
	_             uint8 // request_interrupt_window
	ImmediateExit uint8
	_             [6]uint8
	ExitReason    uint32
	_             uint32
	_             [2]uint64 // cr8, apic_base
	MMIO          mmioExit
	_             [256 - 24]byte
	ValidRegs     uint64
	DirtyRegs     uint64
	Regs          registers
}

// mmioExit mirrors struct mmio in struct kvm_run.
type mmioExit struct {
	Address uint64
	Data    [8]byte
	Length  uint32
	IsWrite uint8
	_       [3]byte
}
