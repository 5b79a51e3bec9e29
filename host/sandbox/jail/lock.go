package jail

import (
	"github.com/landlock-lsm/go-landlock/landlock"

	"instar/host/sandbox/seccomp"
)

// strictest is all that Landlock can restrict; with no rule, nothing of it is
// allowed.
var strictest = landlock.V11

// restrictPaths takes all paths, ports and other processes from the worker, as
// far as this kernel's Landlock goes; what it lacks is named by [Features].
func restrictPaths() error { return strictest.BestEffort().Restrict() }

// filterCalls lets through only the calls of the table from here on.
func filterCalls() error { return seccomp.Load(policy()) }
