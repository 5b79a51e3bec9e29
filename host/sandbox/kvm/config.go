package kvm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"time"
)

// VMMName is the argv[0] by which the program knows that it is to call [Main],
// GuestName the one under which it runs in the machine.
const (
	VMMName   = "instar[vmm]"
	GuestName = "instar[guest]"
)

// Defaults and bounds of [Config].
const (
	DefaultMemory = 256 << 20
	MinMemory     = 64 << 20
	MaxMemory     = 64 << 30
	DefaultStall  = time.Minute
)

const (
	// MaxVCPUs is how many virtual processors, and so threads, a guest can have.
	MaxVCPUs = 64
	// maxProcs is how many of them the Go scheduler is to keep busy at most. It
	// needs another one for each goroutine that waits in a system call.
	maxProcs = MaxVCPUs / 4
)

// procs returns how many processors the guest is told that there are.
func procs() int { return min(runtime.NumCPU(), maxProcs) }

// Config says what the guest gets. Zero values stand for the defaults.
type Config struct {
	// Memory is what the guest may use, in bytes.
	Memory int64 `json:"memory"`
	// Stall is how long one of the guest's threads may run without a system
	// call.
	Stall time.Duration `json:"stall"`
}

// withDefaults returns c with its defaults filled in, or says what is out of
// range.
func (c Config) withDefaults() (Config, error) {
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.Stall == 0 {
		c.Stall = DefaultStall
	}
	switch {
	case c.Memory < MinMemory || c.Memory > MaxMemory:
		return c, fmt.Errorf("a guest can have from %d to %d MiB of memory, not %d", MinMemory>>20, MaxMemory>>20, c.Memory>>20)
	case c.Stall < 0:
		return c, errors.New("a time limit cannot be negative")
	}
	return c, nil
}

// An UnusableError says why there can be no microVM here.
type UnusableError struct {
	Err  error
	Hint string // what to do about it; may be empty
}

func (e *UnusableError) Error() string { return e.Err.Error() }
func (e *UnusableError) Unwrap() error { return e.Err }

// Command returns the VMM as a command: the program exe, which must call
// [Main] under the name of VMMName. The caller adds two ExtraFiles, and so the
// descriptors 3 and 4: the guest's end of the control channel, a stream
// socket, and the write end of a pipe for the report, see [ReadReport].
func Command(exe string, c Config) (*exec.Cmd, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{VMMName, string(arg)}
	// With a fixed number of processors the runtime does not look for another
	// one from time to time, which the VMM could not do once it is locked in.
	cmd.Env = []string{"GODEBUG=asyncpreemptoff=1", fmt.Sprintf("GOMAXPROCS=%d", max(2*runtime.NumCPU(), 4))}
	dieWithParent(cmd)
	return cmd, nil
}

// parseConfig decodes Command's argument.
func parseConfig(arg string) (Config, error) {
	var c Config
	if err := decodeStrictly(bytes.NewReader([]byte(arg)), &c); err != nil {
		return c, err
	}
	return c.withDefaults()
}

// decodeStrictly decodes one JSON value without unknown fields, and nothing
// behind it.
func decodeStrictly(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows")
	}
	return nil
}
