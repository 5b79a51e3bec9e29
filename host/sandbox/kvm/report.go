package kvm

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// An Outcome is how a guest came to its end.
type Outcome string

// The outcomes.
const (
	Exited       Outcome = "exited"         // by itself, with a code
	Crashed      Outcome = "crashed"        // a fault, or an instruction that it may not execute
	Forbidden    Outcome = "forbidden"      // a system call outside the table
	OutOfMemory  Outcome = "out of memory"  // it reached its memory limit
	OutOfThreads Outcome = "out of threads" // it asked for more virtual processors than there are
	Stalled      Outcome = "stalled"        // it ran on without a system call
	Unusable     Outcome = "unusable"       // it could not be started: no microVM here
	Failed       Outcome = "failed"         // the VMM failed
)

// A Report is the VMM's last word.
type Report struct {
	Outcome Outcome `json:"outcome"`
	Code    int     `json:"code"`   // the guest's exit code
	Detail  string  `json:"detail"` // one line, e.g. what fault and where
	Hint    string  `json:"hint"`   // for Unusable: what to do about it
	Log     []byte  `json:"log"`    // the beginning of what the guest wrote to standard error

	VCPUs      int               `json:"vcpus"`
	Exits      uint64            `json:"exits"`
	Calls      map[string]uint64 `json:"calls"` // by name
	Read       uint64            `json:"read"`  // bytes into the guest
	Written    uint64            `json:"written"`
	Offloaded  uint64            `json:"offloaded"` // bytes that the kernel copied for the guest
	MemoryPeak int64             `json:"memory-peak"`
	// Emulated says that KVM works on page tables alone, without the
	// processor's virtualization: exits are slow.
	Emulated bool `json:"emulated"`
	// Clock says that the guest told the time without exits.
	Clock bool `json:"clock"`
	// Missing is what could not be had here, each in a line: a lock on the VMM,
	// memory.
	Missing []string `json:"missing"`
	// Limits, for the words of an error.
	Memory int64         `json:"memory"`
	Stall  time.Duration `json:"stall"`
}

// A GuestError says that a guest did not end as it should.
type GuestError struct {
	Outcome Outcome
	Message string // one line; may hold what the guest made up
	Log     []byte // what the guest wrote to standard error; not to be trusted
}

func (e *GuestError) Error() string { return e.Message }

// Err returns nil if the guest exited with code 0, an *UnusableError if it
// could not be started, and a *GuestError otherwise.
func (r *Report) Err() error {
	if r.Outcome == Unusable {
		return &UnusableError{Err: errors.New(r.Detail), Hint: r.Hint}
	}
	if r.Outcome == Exited && r.Code == 0 {
		return nil
	}
	return &GuestError{Outcome: r.Outcome, Message: r.message(), Log: r.Log}
}

func (r *Report) message() string {
	switch r.Outcome {
	case Exited:
		return fmt.Sprintf("the worker exited with code %d before it had answered", r.Code)
	case Crashed:
		return "the worker crashed: " + r.Detail
	case Forbidden:
		return "the worker was ended: " + r.Detail
	case OutOfMemory:
		return fmt.Sprintf("the worker needs more memory than its limit of %d MiB (see --memory)", r.Memory>>20)
	case OutOfThreads:
		return fmt.Sprintf("the worker needs more threads than the %d that it has", r.VCPUs)
	case Stalled:
		return fmt.Sprintf("the worker ran for %v without a system call: it hangs", r.Stall)
	}
	return "the microVM failed: " + r.Detail
}

// maxReport bounds the length of a report in bytes.
const maxReport = 256 << 10

// ReadReport reads a report from r up to its end. A VMM that was killed has
// left none: the error is then io.ErrUnexpectedEOF. What does not look like a
// report is refused.
func ReadReport(r io.Reader) (Report, error) {
	limited := &io.LimitedReader{R: r, N: maxReport}
	var report Report
	if err := decodeStrictly(limited, &report); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Report{}, fmt.Errorf("report of the microVM: %w", err)
	}
	if err := report.check(); err != nil {
		return Report{}, fmt.Errorf("report of the microVM: %w", err)
	}
	return report, nil
}

// Bounds of what a report may say.
const (
	maxDetail  = 4096
	maxMissing = 16
)

func (r *Report) check() error {
	switch r.Outcome {
	case Exited, Crashed, Forbidden, OutOfMemory, OutOfThreads, Stalled, Unusable, Failed:
	default:
		return fmt.Errorf("unknown outcome %q", r.Outcome)
	}
	if len(r.Detail) > maxDetail || len(r.Hint) > maxDetail || len(r.Missing) > maxMissing {
		return errors.New("too long")
	}
	for _, m := range r.Missing {
		if len(m) > maxDetail {
			return errors.New("too long")
		}
	}
	if r.Code < 0 || r.Code > 255 || r.VCPUs < 0 || r.VCPUs > MaxVCPUs ||
		r.MemoryPeak < 0 || r.MemoryPeak > math.MaxInt64/2 || r.Memory < 0 || r.Stall < 0 {
		return errors.New("figures out of range")
	}
	return nil
}
