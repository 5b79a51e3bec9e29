package jail

import (
	"fmt"

	lowland "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"instar/host/sandbox/seccomp"
)

// Check says why there can be no jail here: seccomp is not optional. It is
// cheap and not the last word, which is a worker that says hello.
func Check() error {
	if !seccomp.Supported() {
		return seccomp.ErrUnsupported
	}
	return nil
}

// A Feature is something of the kernel's that makes the jail stronger.
type Feature struct {
	Name    string
	Missing string // what is missing of it; empty if nothing is
	Hint    string // what to do about that
}

// Versions of Landlock's interface, and what each came with:
// Documentation/userspace-api/landlock.rst of the kernel.
var landlockSteps = []struct {
	version int
	what    string
}{
	{3, "truncation"},
	{4, "TCP ports"},
	{5, "device requests"},
	{6, "signals and abstract sockets"},
}

// Features returns what this kernel has for the jail, apart from namespaces:
// whether those are granted is known when a worker has been started.
func Features() []Feature {
	s := Feature{Name: "seccomp filter"}
	if err := Check(); err != nil {
		s.Missing, s.Hint = err.Error(), "use a kernel with seccomp filters"
	}
	features := []Feature{s, landlockFeature()}
	if cLibrary {
		features = append(features, Feature{
			Name:    "static program",
			Missing: fmt.Sprintf("it is built with cgo: the C library needs %d calls that the table does not have, or not so, and mounts and processes stay in view", len(cCalls)),
			Hint:    "build it with CGO_ENABLED=0",
		})
	}
	return features
}

func landlockFeature() Feature {
	version, err := lowland.LandlockGetABIVersion()
	if err != nil {
		return Feature{Name: "Landlock", Missing: "the kernel has none", Hint: "use Linux 5.13 or later with landlock among its security modules (lsm=)"}
	}
	f := Feature{Name: fmt.Sprintf("Landlock (version %d)", version)}
	for _, step := range landlockSteps {
		if version < step.version {
			if f.Missing == "" {
				f.Missing, f.Hint = "does not restrict ", "use Linux 6.12 or later"
			} else {
				f.Missing += ", "
			}
			f.Missing += step.what
		}
	}
	return f
}
