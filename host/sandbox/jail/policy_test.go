package jail

import (
	"testing"

	"instar/host/sandbox/seccomp"
	"instar/job/wall"
)

// TestPolicyCoversTheTable holds the filter to the table: one rule for each
// call that is made after the start, and a program that the kernel can take.
func TestPolicyCoversTheTable(t *testing.T) {
	if cLibrary {
		t.Skip("built with cgo, which takes more than the table")
	}
	rules := map[uint64]seccomp.Rule{}
	for _, r := range policy() {
		rules[uint64(r.Number)] = r
	}
	for c := range wall.Calls() {
		r, ok := rules[c.Number]
		if ok == c.Start {
			t.Errorf("%s: has a rule: %v, is for the start only: %v", c.Name, ok, c.Start)
		}
		if ok && r.Errno != c.Refusal {
			t.Errorf("%s is answered with %v", c.Name, r.Errno)
		}
		delete(rules, c.Number)
	}
	for _, r := range kernelCalls {
		delete(rules, uint64(r.Number))
	}
	for number := range rules {
		t.Errorf("system call %d has a rule and is not in the table", number)
	}
	program, err := seccomp.Program(policy())
	if err != nil || len(program) > 4096 {
		t.Errorf("%d instructions, %v", len(program), err)
	}
}
