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

// func readCR3()
TEXT ·readCR3(SB), NOSPLIT, $0-0
	MOVQ CR3, AX
	RET

// func writeMSR()
TEXT ·writeMSR(SB), NOSPLIT, $0-0
	MOVL $0xc0000082, CX
	XORL AX, AX
	XORL DX, DX
	WRMSR
	RET

// func invalidOpcode()
TEXT ·invalidOpcode(SB), NOSPLIT, $0-0
	BYTE $0x0f; BYTE $0x0b
	RET

// func int80()
TEXT ·int80(SB), NOSPLIT, $0-0
	MOVQ $20, AX // getpid, by the 32-bit table
	INT  $0x80
	RET

// func jump(address uint64)
TEXT ·jump(SB), NOSPLIT, $0-8
	MOVQ address+0(FP), AX
	JMP  AX
