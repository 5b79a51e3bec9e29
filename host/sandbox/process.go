package sandbox

import (
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A process is a worker's process behind one wall.
type process interface {
	// command is what is, or will be, run.
	command() *exec.Cmd
	// started is called once command runs, in the parent.
	started()
	// failed is called if command could not be run.
	failed()
	// explain says why the process ended by itself, given what Wait returned.
	explain(waitErr error) error
	// features are what this way to build the wall is made of. tried says why
	// the better ways did not work.
	features(tried []error) []Feature
	// collect adds what the process reported to r, after it ended.
	collect(r *Report)
}

// drivers has, for each wall, what prepares the ways to start a process behind
// it, the best first.
var drivers = map[Wall]func(Options) ([]process, error){
	KVM:  newMicroVM,
	Jail: newJailed,
	None: newOpen,
}

// guestName is the argv[0] by which the program knows that it is a worker.
const guestName = "instar[guest]"

// plain is a worker that is a process of which nothing more is known than how
// it ends.
type plain struct {
	cmd    *exec.Cmd
	stderr head
	memory int64
}

// newOpen prepares a worker without a wall: only a process of its own.
func newOpen(o Options) ([]process, error) {
	cmd := exec.Command(o.Executable)
	cmd.Args = []string{guestName}
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return []process{newPlain(cmd, o)}, nil
}

func newPlain(cmd *exec.Cmd, o Options) *plain {
	p := &plain{cmd: cmd, memory: o.Memory}
	cmd.Stdout, cmd.Stderr = newCounts(), &p.stderr
	return p
}

func (p *plain) command() *exec.Cmd         { return p.cmd }
func (p *plain) started()                   {}
func (p *plain) failed()                    {}
func (p *plain) features([]error) []Feature { return nil }

// collect adds what the kernel counted.
func (p *plain) collect(r *Report) {
	state := p.cmd.ProcessState
	if state == nil {
		return
	}
	r.Stats = append(r.Stats, Stat{"processor time", (state.UserTime() + state.SystemTime()).Round(time.Millisecond).String()})
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		r.Stats = append(r.Stats, Stat{"memory peak", fmt.Sprintf("%d MiB", usage.Maxrss>>10)}) // it counts in KiB
	}
}

func (p *plain) explain(waitErr error) error { return crashed(waitErr, p.stderr.String(), p.memory) }

// head keeps the beginning of what is written to it: a Go program that dies
// says why first, and then at length where.
type head struct {
	mu  sync.Mutex
	buf []byte
}

const headSize = 16 << 10

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf = append(h.buf, p[:min(len(p), headSize-len(h.buf))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.buf)
}
