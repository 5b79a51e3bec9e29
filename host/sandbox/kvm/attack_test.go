//go:build linux && amd64

package kvm_test

import (
	"testing"

	"instar/host/sandbox/kvm"
)

func ready(t testing.TB, c kvm.Config) *running {
	t.Helper()
	v := startGuest(t, c)
	if m := v.receive(); m == nil || m.Hello == nil {
		r := v.end()
		t.Fatalf("got %+v instead of hello; %+v\n%s", m, r, r.Log)
	}
	return v
}

func TestAttacks(t *testing.T) {
	for _, name := range []string{
		"halt", "port", "int 80", "breakpoint", "read CR3", "write MSR", "single step", "vmcall", "vmmcall", "sysenter",
		"jump to kernel", "jump to handler", "jump to nowhere", "jump to non-canonical", "jump to the stack", "jump into call page", "call by jump", "return to kernel", "return to non-canonical",
		"read kernel", "write kernel", "write call page", "write clock page", "write text", "ring the bell", "read the bell", "read nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			v := ready(t, kvm.Config{})
			if got := v.ask(name); got != "" {
				t.Error(got)
			}
			r := v.end()
			t.Logf("%v %d %s %s", r.Outcome, r.Code, r.Detail, r.Log)
		})
	}
}
