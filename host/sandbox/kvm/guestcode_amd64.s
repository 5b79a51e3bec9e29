//go:build linux

#include "textflag.h"

// The code in this file runs in the guest, from pages that it is copied to.

// clockGettime is __vdso_clock_gettime: DI is the clock, SI the address of a
// struct timespec. It computes from clock.parameters, at clockAddress.
TEXT ·clockGettime(SB), NOSPLIT|NOFRAME, $0-0
	CMPL DI, $1
	JHI  other
	MOVQ $0x7ffff0001000, R8 // clockAddress
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	SUBQ 0(R8), AX
	MOVL $0, DX // a counter that is behind that of the first processor has not moved
	CMOVQCS DX, AX
	MULQ 8(R8)
	SHRQ $32, AX
	SHLQ $32, DX
	ORQ  DX, AX
	MOVL DI, DI
	ADDQ 16(R8)(DI*8), AX
	XORL DX, DX
	MOVQ $1000000000, CX
	DIVQ CX
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET

other:
	MOVL $228, AX // SYS_CLOCK_GETTIME
	SYSCALL
	RET

// probe is where the guest starts: it makes one system call, with the time
// stamp counter in BX. The VMM has it return to the program's entry point.
TEXT ·probe(SB), NOSPLIT|NOFRAME, $0-0
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, BX
	SYSCALL
	UNDEF

TEXT ·guestCodeEnd(SB), NOSPLIT|NOFRAME, $0-0
	RET

// func guestCode() (clock, probe, end uintptr)
TEXT ·guestCode(SB), NOSPLIT, $0-24
	LEAQ ·clockGettime(SB), AX
	MOVQ AX, clock+0(FP)
	LEAQ ·probe(SB), AX
	MOVQ AX, probe+8(FP)
	LEAQ ·guestCodeEnd(SB), AX
	MOVQ AX, end+16(FP)
	RET
