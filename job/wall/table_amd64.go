package wall

import "golang.org/x/sys/unix"

// archSetFS is ARCH_SET_FS of arch/x86/include/uapi/asm/prctl.h.
const archSetFS = 0x1002

var archCalls = []Call{{
	Number: unix.SYS_ARCH_PRCTL, Name: "arch_prctl",
	For: "where the first thread keeps what is its own", Start: true,
	Args: []Arg{{Index: 0, Name: "op", OneOf: []Value{{"ARCH_SET_FS", archSetFS}}}},
}}
