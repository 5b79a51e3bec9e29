package seccomp

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// verdict runs a filter over a call.
func verdict(t rapid.TB, program []bpf.Instruction, arch, number uint32, args [6]uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel hands a filter words of its own byte order; the machine of
	// package bpf wants them in the network's.
	b := binary.BigEndian.AppendUint32(nil, number)
	b = binary.BigEndian.AppendUint32(b, arch)
	b = append(b, make([]byte, 8)...)
	for _, a := range args {
		b = binary.BigEndian.AppendUint32(b, uint32(a))
		b = binary.BigEndian.AppendUint32(b, uint32(a>>32))
	}
	v, err := vm.Run(b)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

var rules = []Rule{
	{Number: 0, Ways: [][]Condition{{Between(0, 4, 4095)}}},
	{Number: 17, Ways: [][]Condition{{Between(0, 4, 4095)}}},
	{Number: 9, Ways: [][]Condition{
		{Only(2, 3), Equal(3, 0x22)},
		{Only(2, 3), Equal(3, 0x32)},
	}},
	{Number: 56, Ways: [][]Condition{{Equal(0, 0x1_0000_0100)}}},
	{Number: 60},
	{Number: 231, Ways: [][]Condition{{}}},
	{Number: 257, Errno: unix.ENOENT},
}

// allowed is what rules say, in Go.
func allowed(number uint32, a [6]uint64) uint32 {
	ok := false
	switch number {
	case 0, 17:
		ok = a[0] >= 4 && a[0] <= 4095
	case 9:
		ok = a[2]&^3 == 0 && (a[3] == 0x22 || a[3] == 0x32)
	case 56:
		ok = a[0] == 0x1_0000_0100
	case 60, 231:
		ok = true
	case 257:
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOENT)
	}
	if ok {
		return unix.SECCOMP_RET_ALLOW
	}
	return unix.SECCOMP_RET_KILL_PROCESS
}

// TestVerdicts compares the filter with what it stands for, for calls whose
// arguments are likely to be near what the rules say, or the numbers of calls.
func TestVerdicts(t *testing.T) {
	program, err := Program(rules)
	if err != nil {
		t.Fatal(err)
	}
	near := []uint64{0, 3, 4, 9, 17, 0x22, 0x32, 56, 60, 231, 257, 4095, 4096, 1 << 32, 0x1_0000_0100, 0x1_0000_0022, 0x1_0000_0004, ^uint64(0), 0xffff_ffff}
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.SampledFrom([]uint32{0, 9, 17, 56, 60, 231, 257, 0x4000_0000 | 60}), rapid.Uint32()).Draw(t, "number")
		var args [6]uint64
		for i := range args {
			args[i] = rapid.OneOf(rapid.SampledFrom(near), rapid.Uint64()).Draw(t, "argument")
		}
		if got, want := verdict(t, program, architectures[runtime.GOARCH], number, args), allowed(number, args); got != want {
			t.Errorf("%d%#x: %#x, want %#x", number, args, got, want)
		}
	})
}

// TestOtherArchitecture shows that no call goes through by the conventions of
// another architecture.
func TestOtherArchitecture(t *testing.T) {
	program, err := Program(rules)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if got := verdict(t, program, unix.AUDIT_ARCH_I386, rand.Uint32N(512), [6]uint64{}); got != unix.SECCOMP_RET_KILL_PROCESS {
			t.Fatalf("verdict %#x", got)
		}
	}
}

func TestRulesThatMakeNoSense(t *testing.T) {
	many := make([]Condition, 100)
	for name, rules := range map[string][]Rule{
		"twice":         {{Number: 1}, {Number: 1}},
		"argument 6":    {{Number: 1, Ways: [][]Condition{{Equal(6, 0)}}}},
		"argument -1":   {{Number: 1, Ways: [][]Condition{{Equal(-1, 0)}}}},
		"too much":      {{Number: 1, Ways: [][]Condition{many}}},
		"too much, too": {{Number: 1, Ways: [][]Condition{{}, many}}},
	} {
		if _, err := Program(rules); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNoRules(t *testing.T) {
	program, err := Program(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, program, architectures[runtime.GOARCH], 60, [6]uint64{}); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("verdict %#x", got)
	}
}
