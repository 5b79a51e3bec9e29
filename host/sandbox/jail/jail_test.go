package jail

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEnterRefusesStrangers shows that a process which the program did not start
// itself is told so, and is not locked in.
func TestEnterRefusesStrangers(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	for _, a := range [][]string{
		{Name},
		{Name, ""},
		{Name, "{}"},
		{Name, `{"memory":0,"spaces":0}`},
		{Name, `{"memory":-1,"spaces":0}`},
		{Name, `{"memory":1,"spaces":0,"surprise":1}`},
		{Name, `{"memory":1,"spaces":0}`, "more"},
	} {
		os.Args = a
		if err := Enter(); err == nil || !strings.Contains(err.Error(), "started by the program itself") {
			t.Fatalf("%q: %v", a, err)
		}
	}
}

func TestCommands(t *testing.T) {
	attempts, err := Commands("/proc/self/exe", Config{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	first, last := attempts[0], attempts[len(attempts)-1]
	if first.Missing != "" || first.Cmd.SysProcAttr.Cloneflags&unix.CLONE_NEWUSER == 0 {
		t.Errorf("the first attempt is %+v", first)
	}
	if last.Missing == "" || last.Cmd.SysProcAttr.Cloneflags != 0 {
		t.Errorf("the last attempt is %+v", last)
	}
	for _, a := range attempts {
		if a.Cmd.Args[0] != Name || a.Cmd.SysProcAttr.Pdeathsig != unix.SIGKILL {
			t.Errorf("%+v", a.Cmd)
		}
		if !slices.ContainsFunc(a.Cmd.Env, func(s string) bool { return s == "GOMEMLIMIT=50331648" }) {
			t.Errorf("the environment is %q", a.Cmd.Env)
		}
		for _, e := range a.Cmd.Env {
			if !strings.HasPrefix(e, "GO") {
				t.Errorf("the worker hears of %s", e)
			}
		}
		o, err := parseOrder(a.Cmd.Args)
		if err != nil || o.Memory != 64<<20 || o.Spaces != a.Cmd.SysProcAttr.Cloneflags {
			t.Errorf("the order is %+v, %v", o, err)
		}
	}
}

func TestRuntimeData(t *testing.T) {
	if got := runtimeData(); got < 1<<20 || got > 1<<30 {
		t.Errorf("%d bytes", got)
	}
}

func TestFeatures(t *testing.T) {
	for _, f := range Features() {
		if f.Name == "" || (f.Missing == "") != (f.Hint == "") {
			t.Errorf("%+v", f)
		}
	}
}
