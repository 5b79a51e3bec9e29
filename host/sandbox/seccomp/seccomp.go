// Package seccomp makes and installs filters for system calls that look at
// arguments. The program that the kernel is given is as plain as can be: after
// the number has been matched, every path through a call's part ends in a
// verdict, so that no argument is ever taken for a number. (That is why it is our
// own: github.com/elastic/go-seccomp-bpf 1.6.0 goes on to compare an argument
// with the numbers of other calls once a condition has failed, and so lets
// through clone with the flags 17, which is the number of pread64.)
package seccomp

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Rule says what becomes of one system call. A call without a rule, or whose
// arguments no way of its rule allows, kills the process.
type Rule struct {
	Number uint32
	// Errno is what the call is answered with; 0 lets it through.
	Errno unix.Errno
	// Ways are alternatives, each a list of conditions that all hold; none at
	// all is the same as one without conditions.
	Ways [][]Condition
}

// A Condition is what is asked of one argument.
type Condition struct {
	arg       int
	mask      uint64 // of the bits that are compared with value
	value     uint64
	between   bool // low and high are used instead
	low, high uint32
}

// Equal asks that argument arg, counted from 0, has that value.
func Equal(arg int, value uint64) Condition {
	return Condition{arg: arg, mask: ^uint64(0), value: value}
}

// Only asks that argument arg has no other bits than these.
func Only(arg int, bits uint64) Condition { return Condition{arg: arg, mask: ^bits} }

// Between asks that argument arg is not below low and not above high.
func Between(arg int, low, high uint32) Condition {
	return Condition{arg: arg, between: true, low: low, high: high}
}

// Where the fields of struct seccomp_data are: include/uapi/linux/seccomp.h.
const (
	numberOffset    = 0
	archOffset      = 4
	argumentsOffset = 16
)

const (
	verdictKill  = unix.SECCOMP_RET_KILL_PROCESS
	verdictAllow = unix.SECCOMP_RET_ALLOW
	verdictErrno = unix.SECCOMP_RET_ERRNO
)

// architectures are those on which a program of this kind runs, by Go's names.
// All have the low half of an argument first.
var architectures = map[string]uint32{
	"amd64":   unix.AUDIT_ARCH_X86_64,
	"arm64":   unix.AUDIT_ARCH_AARCH64,
	"riscv64": unix.AUDIT_ARCH_RISCV64,
}

// Program returns the filter as the kernel takes it. Calls by another
// architecture's conventions kill the process too; so do those of x32, whose
// numbers have a bit set that no rule's has.
func Program(rules []Rule) ([]bpf.Instruction, error) {
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("no filters on %s", runtime.GOARCH)
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		bpf.RetConstant{Val: verdictKill},
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
	}
	seen := map[uint32]bool{}
	for _, r := range rules {
		if seen[r.Number] {
			return nil, fmt.Errorf("two rules for system call %d", r.Number)
		}
		seen[r.Number] = true
		part, err := r.part()
		if err != nil {
			return nil, fmt.Errorf("system call %d: %w", r.Number, err)
		}
		program = append(
			program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.Number, SkipTrue: 1},
			bpf.Jump{Skip: uint32(len(part))},
		)
		program = append(program, part...)
	}
	return append(program, bpf.RetConstant{Val: verdictKill}), nil
}

// part returns what decides about a call once its number has been matched.
func (r Rule) part() ([]bpf.Instruction, error) {
	verdict := uint32(verdictAllow)
	if r.Errno != 0 {
		verdict = verdictErrno | uint32(r.Errno)
	}
	if len(r.Ways) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: verdict}}, nil
	}
	var part []bpf.Instruction
	for _, way := range r.Ways {
		var steps []bpf.Instruction
		for _, c := range way {
			if c.arg < 0 || c.arg > 5 {
				return nil, fmt.Errorf("it has no argument %d", c.arg)
			}
			steps = append(steps, c.steps()...)
		}
		steps = append(steps, bpf.RetConstant{Val: verdict})
		if err := aim(steps); err != nil {
			return nil, err
		}
		part = append(part, steps...)
	}
	return append(part, bpf.RetConstant{Val: verdictKill}), nil
}

// otherwise stands for a jump to behind the way that it is in.
const otherwise = 255

// steps returns the test of c: it goes on behind the last step if c holds.
func (c Condition) steps() []bpf.Instruction {
	low := bpf.LoadAbsolute{Off: uint32(argumentsOffset + 8*c.arg), Size: 4}
	high := bpf.LoadAbsolute{Off: low.Off + 4, Size: 4}
	if c.between {
		return []bpf.Instruction{
			high,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: otherwise},
			low,
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: c.low, SkipFalse: otherwise},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: c.high, SkipTrue: otherwise},
		}
	}
	return []bpf.Instruction{
		high,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.mask >> 32)},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(c.value >> 32), SkipFalse: otherwise},
		low,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.mask)},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(c.value), SkipFalse: otherwise},
	}
}

// aim has the jumps that stand for otherwise lead behind the last step.
func aim(steps []bpf.Instruction) error {
	for i, step := range steps {
		jump, ok := step.(bpf.JumpIf)
		if !ok {
			continue
		}
		skip := len(steps) - i - 1
		if skip >= otherwise {
			return errors.New("too many conditions")
		}
		if jump.SkipTrue == otherwise {
			jump.SkipTrue = uint8(skip)
		}
		if jump.SkipFalse == otherwise {
			jump.SkipFalse = uint8(skip)
		}
		steps[i] = jump
	}
	return nil
}
