package sandbox

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"instar/internal/safetext"
)

// A CrashError says that a worker ended by itself before it had answered.
type CrashError struct {
	Why string // how it ended
	Log string // the beginning of what it wrote to its standard error, fit to be shown
}

func (e *CrashError) Error() string { return "the worker " + e.Why }

// A TimeoutError says that a job took longer than it was given.
type TimeoutError struct{ Limit time.Duration }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("the worker exceeded the time limit of %v (see --timeout)", e.Limit)
}

// Timeout reports true: the error is one of time.
func (e *TimeoutError) Timeout() bool { return true }

// crashed says how a worker process ended, given what Wait returned, what it
// wrote to its standard error, and its memory limit in bytes.
func crashed(waitErr error, log string, memory int64) error {
	e := &CrashError{Log: safetext.Escape(log)}
	var exit *exec.ExitError
	if !errors.As(waitErr, &exit) {
		e.Why = "exited before it had answered"
		return e
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	switch {
	case !status.Signaled() && matches(noMemory, log):
		e.Why = fmt.Sprintf("needs more memory than its limit of %d MiB (see --memory)", memory>>20)
	case !status.Signaled() && matches(noThreads, log):
		e.Why = "needs more threads than it may have"
	case !status.Signaled():
		e.Why = fmt.Sprintf("exited with code %d before it had answered", status.ExitStatus())
	case status.Signal() == unix.SIGSYS:
		e.Why = "made a system call that it has no business with, and was killed for it"
	case status.Signal() == unix.SIGKILL:
		e.Why = "was killed from outside (the system does so when memory runs out)"
	default:
		e.Why = fmt.Sprintf("crashed: %v", status.Signal())
	}
	return e
}

// The Go runtime's last words when it was refused memory, or a thread: there is
// no other sign of it. Who makes them up gains nothing by it.
const (
	noMemory  = `(?m)^fatal error: .*(out of memory|cannot allocate memory|cannot reserve|failed to reserve)`
	noThreads = `(?m)^runtime: failed to create new OS thread`
)

func matches(pattern, log string) bool { return regexp.MustCompile(pattern).MatchString(log) }

// reason returns err in one line as a note: what a worker that could not lock
// itself in said is the best that there is.
func reason(err error) string {
	var crash *CrashError
	if errors.As(err, &crash) && crash.Log != "" {
		return safetext.Limit(crash.Log, maxText)
	}
	return err.Error()
}
