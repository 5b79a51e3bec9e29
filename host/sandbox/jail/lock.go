package jail

import (
	"errors"
	"runtime"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/landlock-lsm/go-landlock/landlock"
)

// strictest is all that Landlock can restrict; with no rule, nothing of it is
// allowed.
var strictest = landlock.V11

// restrictPaths takes all paths, ports and other processes from the worker, as
// far as this kernel's Landlock goes; what it lacks is named by [Features].
func restrictPaths() error { return strictest.BestEffort().Restrict() }

// failNamed has the kernel say so when a thread could not be filtered:
// SECCOMP_FILTER_FLAG_TSYNC_ESRCH of include/uapi/linux/seccomp.h, since Linux
// 5.7. Without it the answer is the thread's number, which looks like success.
const failNamed = 1 << 4

// filterCalls lets through only the calls of the table from here on.
func filterCalls() error {
	runtime.LockOSThread() // no_new_privs is set on this thread first
	defer runtime.UnlockOSThread()
	if !seccomp.Supported() {
		return errNoSeccomp
	}
	filter := seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync | failNamed, Policy: policy()}
	err := seccomp.LoadFilter(filter)
	if errors.Is(err, errInvalid) {
		filter.Flag = seccomp.FilterFlagTSync
		err = seccomp.LoadFilter(filter)
	}
	return err
}
