package sandbox

import (
	"os/exec"
	"sync"
	"syscall"

	"instar/internal/safetext"
)

// guestName is the argv[0] by which the program knows that it is a worker.
const guestName = "instar[guest]"

// open is a worker without a wall: only a process of its own.
type open struct {
	cmd    *exec.Cmd
	stderr tail
}

func newOpen(o Options) (process, error) {
	p := &open{cmd: exec.Command(o.Executable)}
	p.cmd.Args = []string{guestName}
	p.cmd.Env = []string{}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, nil
}

func (p *open) command() *exec.Cmd { return p.cmd }
func (p *open) started()           {}
func (p *open) collect(*Report)    {}

func (p *open) explain(waitErr error) error { return crashed(waitErr, p.stderr.String()) }

// A CrashError says that a worker ended by itself before it had answered.
type CrashError struct {
	Why string // how it ended
	Log string // the end of what it wrote to its standard error, fit to be shown
}

func (e *CrashError) Error() string { return "the worker ended before it had answered: " + e.Why }

func crashed(waitErr error, log string) error {
	why := "exit status 0"
	if waitErr != nil {
		why = waitErr.Error()
	}
	return &CrashError{Why: why, Log: safetext.Escape(log)}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
