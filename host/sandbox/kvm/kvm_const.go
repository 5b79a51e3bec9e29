//go:build linux && amd64

package kvm

// Requests, capabilities and exits of the KVM API, version 12: from
// include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
const (
	apiVersion = 12

	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmCheckExtension      = 0xae03
	kvmGetVCPUMmapSize     = 0xae04
	kvmGetSupportedCPUID   = 0xc008ae05
	kvmCreateVCPU          = 0xae41
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmRun                 = 0xae80
	kvmGetRegs             = 0x8090ae81
	kvmSetRegs             = 0x4090ae82
	kvmGetSregs            = 0x8138ae83
	kvmSetSregs            = 0x4138ae84
	kvmSetMSRs             = 0x4008ae89
	kvmSetCPUID2           = 0x4008ae90
	kvmGetTSCKHz           = 0xaea3
	kvmSetXCRs             = 0x4188aea7

	capUserMemory  = 3
	capExtCPUID    = 7
	capXCRs        = 56
	capTSCKHz      = 61
	capMaxVCPUs    = 66
	capSyncRegs    = 74
	capReadOnlyMem = 81

	syncRegs    = 1 << 0 // KVM_SYNC_X86_REGS
	memReadOnly = 1 << 1 // KVM_MEM_READONLY

	exitIO            = 2
	exitHalt          = 5
	exitMMIO          = 6
	exitShutdown      = 8
	exitFailEntry     = 9
	exitInternalError = 17
)

// Bits and numbers of the processor: AMD64 Architecture Programmer's Manual,
// volume 2 (system programming).
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0AM = 1 << 18
	cr0PG = 1 << 31

	cr4PAE        = 1 << 5
	cr4OSFXSR     = 1 << 9
	cr4OSXMMEXCPT = 1 << 10
	cr4FSGSBASE   = 1 << 16
	cr4OSXSAVE    = 1 << 18

	eferSCE = 1 << 0
	eferLME = 1 << 8
	eferLMA = 1 << 10
	eferNXE = 1 << 11

	xcr0X87 = 1 << 0
	xcr0SSE = 1 << 1
	xcr0AVX = 1 << 2

	msrSTAR   = 0xc0000081
	msrLSTAR  = 0xc0000082
	msrSFMASK = 0xc0000084
	msrFSBase = 0xc0000100

	flagReserved  = 1 << 1
	flagTrap      = 1 << 8
	flagInterrupt = 1 << 9
	flagDirection = 1 << 10
	flagIOPL      = 3 << 12
	flagNested    = 1 << 14
	flagAlign     = 1 << 18

	// Selectors as SYSCALL and SYSRET derive them from STAR.
	kernelCode = 0x10
	kernelData = 0x18
	userBase   = 0x23 // SYSRET: SS is this plus 8, 64-bit CS this plus 16
	userData   = 0x2b
	userCode   = 0x33
)
