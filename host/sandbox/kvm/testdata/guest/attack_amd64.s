#include "textflag.h"

// func halt()
TEXT ·halt(SB), NOSPLIT, $0-0
	HLT
	RET

// func portOut()
TEXT ·portOut(SB), NOSPLIT, $0-0
	MOVW $0x80, DX
	MOVB $1, AX
	OUTB
	RET

// func int80()
TEXT ·int80(SB), NOSPLIT, $0-0
	MOVQ $20, AX // getpid, by the 32-bit table
	INT  $0x80
	RET

// func breakpoint()
TEXT ·breakpoint(SB), NOSPLIT, $0-0
	INT $3
	RET

// func readCR3() uint64
TEXT ·readCR3(SB), NOSPLIT, $0-8
	MOVQ CR3, AX
	MOVQ AX, ret+0(FP)
	RET

// func writeMSR()
TEXT ·writeMSR(SB), NOSPLIT, $0-0
	MOVL $0xc0000082, CX
	XORL AX, AX
	XORL DX, DX
	WRMSR
	RET

// func jump(address uint64)
TEXT ·jump(SB), NOSPLIT, $0-8
	MOVQ address+0(FP), AX
	JMP  AX

// func jumpCalling(address, number, ret uint64)
TEXT ·jumpCalling(SB), NOSPLIT, $0-24
	MOVQ address+0(FP), DX
	MOVQ number+8(FP), AX
	MOVQ ret+16(FP), CX
	MOVQ $0x3202, R11
	JMP  DX

// func singleStep()
TEXT ·singleStep(SB), NOSPLIT, $0-0
	PUSHFQ
	ORQ $0x100, 0(SP)
	POPFQ
	NOP
	NOP
	RET

// func hypercall() uint64
TEXT ·hypercall(SB), NOSPLIT, $0-8
	MOVL $1, AX // KVM_HC_VAPIC_POLL_IRQ
	BYTE $0x0f; BYTE $0x01; BYTE $0xd9 // vmmcall
	MOVQ AX, ret+0(FP)
	RET

// func sysenter()
TEXT ·sysenter(SB), NOSPLIT, $0-0
	SYSENTER
	RET

// func spin()
TEXT ·spin(SB), NOSPLIT, $0-0
loop:
	JMP loop
