// Package sandbox starts a worker behind a wall, hands it descriptors and
// jobs, and brings its answers back. A worker is the guest side of this very
// program, started anew; whatever it says is taken for hostile.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/host/sandbox/kvm"
	"instar/host/sandbox/seccomp"
	"instar/job"
)

// Defaults of Options.
const (
	DefaultMemory         = 256 << 20
	DefaultInspectTimeout = 30 * time.Second
)

// Bounds of Options.Memory, in bytes, for every wall.
const (
	MinMemory = kvm.MinMemory
	MaxMemory = kvm.MaxMemory
)

// startTimeout bounds how long a worker may take to say that it is ready.
const startTimeout = 10 * time.Second

var errNotReady = fmt.Errorf("the worker was not ready within %v", startTimeout)

// Options say which worker to start.
type Options struct {
	Wall Wall // empty is Auto
	// Memory is what the worker may use, in bytes, from MinMemory to
	// MaxMemory; 0 is DefaultMemory.
	Memory int64
	// Timeout bounds each job; 0 is none for an execution, and
	// DefaultInspectTimeout for an inspection.
	Timeout time.Duration
	// Warn is told, in one line, what the user should know although nothing
	// failed; nil drops it.
	Warn func(string)
	// Executable is the program to start as the worker; empty is the running
	// one. Tests put another in its place.
	Executable string
}

func (o Options) withDefaults() Options {
	if o.Wall == "" {
		o.Wall = Auto
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Executable == "" {
		o.Executable = "/proc/self/exe"
	}
	return o
}

// A Worker is a running guest. It serves one goroutine at a time; to stop it
// early, cancel the context of the call that waits for it.
type Worker struct {
	proc    process
	control int // this side of the control channel
	conn    *job.Conn
	options Options
	grants  int
	ceiling int64
	report  Report
	cause   atomic.Pointer[error] // why the host ended the worker
	exited  chan struct{}
	waitErr error
	closed  sync.Once
}

// Start starts a worker behind the wall that the options ask for. With Auto it
// takes the best one that works, and Report says why not a better one. The
// error is an *UnavailableError when a wall was asked for that cannot be had.
// When ctx ends before the worker is ready, it is killed.
func Start(ctx context.Context, o Options) (*Worker, error) {
	o = o.withDefaults()
	if o.Memory < MinMemory || o.Memory > MaxMemory {
		return nil, fmt.Errorf("a worker can have from %d to %d MiB of memory, not %d", MinMemory>>20, MaxMemory>>20, o.Memory>>20)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if o.Wall != Auto {
		w, err := start(ctx, o.Wall, o)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, unavailable(o.Wall, err)
		}
		if o.Wall == None {
			o.Warn("warning: --sandbox=none: the image is parsed with your rights, behind no wall")
		}
		return w, nil
	}
	var passed []Unused
	for _, wall := range []Wall{KVM, Jail} {
		w, err := start(ctx, wall, o)
		if err == nil {
			w.report.Unused = passed
			return w, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		passed = append(passed, Unused{Wall: wall, Err: err})
	}
	return nil, &UnavailableError{
		Wall: Auto,
		Err:  fmt.Errorf("kvm: %w; jail: %w", passed[0].Err, passed[1].Err),
		Hint: "see instar doctor",
	}
}

func unavailable(wall Wall, err error) error {
	var u *UnavailableError
	if errors.As(err, &u) {
		return err
	}
	return &UnavailableError{Wall: wall, Err: err, Hint: cmp.Or(hint(err), "see instar doctor")}
}

// hint returns what to do about a wall that could not be had because of err, if
// anything is known.
func hint(err error) string {
	var u *kvm.UnusableError
	switch {
	case errors.As(err, &u):
		return u.Hint
	case errors.Is(err, seccomp.ErrUnsupported):
		return "use a kernel with seccomp filters"
	}
	return ""
}

// start starts a worker behind one wall and waits until it is ready. Where the
// wall can be built in several ways, it takes the first that works.
func start(ctx context.Context, wall Wall, o Options) (*Worker, error) {
	drive, ok := drivers[wall]
	if !ok {
		return nil, fmt.Errorf("no such wall %q", wall)
	}
	ways, err := drive(o)
	if err != nil {
		return nil, err
	}
	var tried []error
	for _, proc := range ways {
		w := &Worker{proc: proc, options: o, report: Report{Wall: wall}, exited: make(chan struct{})}
		if err = w.begin(ctx); err == nil {
			w.report.Features = proc.features(tried)
			return w, nil
		}
		if ctx.Err() != nil {
			break
		}
		tried = append(tried, err)
	}
	return nil, err
}

// begin launches the process and waits until it says that it is ready.
func (w *Worker) begin(ctx context.Context) error {
	if err := w.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errNotReady)
	defer cancel()
	_, err := w.call(ctx, 0, nil, func(m *job.Message) bool { return m.Hello != nil })
	if err != nil {
		w.Close()
	}
	return err
}

// keepDescriptors sees to it that no worker inherits what this process has
// open: Go opens nothing that it would, but whoever started this process may
// have left something behind.
var keepDescriptors = sync.OnceFunc(func() {
	// Before Linux 5.11 it cannot be said at once; the jail closes what it
	// inherits by itself.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
})

// launch starts the process with its end of the control channel.
func (w *Worker) launch() error {
	keepDescriptors()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make the control channel: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	cmd := w.proc.command()
	cmd.ExtraFiles = append([]*os.File{theirs}, cmd.ExtraFiles...)
	cmd.SysProcAttr.Setsid = true // what is typed at the terminal is for this process
	cmd.WaitDelay = closeTimeout
	started := make(chan error)
	go func() {
		// The kernel kills the worker with the thread that started it, so
		// that thread has to stay for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			w.waitErr = cmd.Wait()
			close(w.exited)
		}
	}()
	if err := <-started; err != nil {
		unix.Close(pair[0])
		w.proc.failed()
		return fmt.Errorf("start the worker: %w", err)
	}
	w.control, w.conn = pair[0], job.NewConn(pair[0])
	w.proc.started()
	return nil
}

// Grant hands f to the worker and returns the number by which jobs name it.
// Nothing can be written to an output at or above ceiling, in bytes: the
// kernel refuses it (RLIMIT_FSIZE), and a microVM's host too. The file stays
// the caller's, who should have opened it for no more than a.
func (w *Worker) Grant(f *os.File, a job.Access, ceiling int64) (int, error) {
	if a == job.Write && ceiling > w.ceiling {
		w.ceiling = ceiling
	}
	if a == job.Write {
		if err := w.limitSize(); err != nil {
			return 0, w.ended(fmt.Errorf("limit what the worker may write: %w", err))
		}
	}
	id := w.grants
	grant := &job.Grant{ID: id, Access: a, Ceiling: ceiling, Reserve: a == job.Write && localfile.Reserves(f)}
	err := w.conn.Send(&job.Message{Grant: grant}, int(f.Fd()))
	if err != nil {
		return 0, w.ended(err)
	}
	w.grants++
	return id, nil
}

// limitSize has the kernel refuse what the worker writes beyond its ceiling.
// Only the soft limit is set, since the next ceiling may be higher; a worker
// behind a wall cannot change it.
func (w *Worker) limitSize() error {
	pid := w.proc.command().Process.Pid
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		return err
	}
	limit.Cur = min(uint64(w.ceiling), limit.Max)
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
}

// Revoke has the worker close what was granted under id.
func (w *Worker) Revoke(id int) error {
	if err := w.conn.Send(&job.Message{Revoke: &job.Revoke{ID: id}}, -1); err != nil {
		return w.ended(err)
	}
	return nil
}

// Inspect has the worker say what an image is. A *job.Error is the image's
// fault; its text is fit to be shown.
func (w *Worker) Inspect(ctx context.Context, j job.Inspect) (*job.Inspection, error) {
	limit := w.options.Timeout
	if limit == 0 {
		limit = DefaultInspectTimeout
	}
	var first []job.Snapshot
	m, err := w.call(ctx, limit, &job.Message{Inspect: &j}, func(m *job.Message) bool {
		first = append(first, m.Snapshots...)
		return m.Inspection != nil
	})
	if err != nil {
		return nil, err
	}
	m.Inspection.Snapshots = append(first, m.Inspection.Snapshots...)
	if err := checkInspection(m.Inspection); err != nil {
		return nil, w.end(err)
	}
	return m.Inspection, nil
}

// Execute has the worker carry out a copy. progress, which may be nil, is told
// how far it has come, and warn, which may be, of sectors that were taken for
// zeros.
func (w *Worker) Execute(ctx context.Context, e *job.Execution, progress func(job.Progress), warn func(job.Warning)) (*job.Result, error) {
	m, err := w.call(ctx, w.options.Timeout, &job.Message{Execute: e}, func(m *job.Message) bool {
		switch {
		case m.Progress != nil && progress != nil:
			progress(*m.Progress)
		case m.Warning != nil && warn != nil && e.Salvage:
			warn(*m.Warning)
		}
		return m.Result != nil
	})
	if err != nil {
		return nil, err
	}
	if err := checkResult(m.Result, e.Hash); err != nil {
		return nil, w.end(err)
	}
	return m.Result, nil
}

// Compare has the worker compare two images. progress, which may be nil, is told
// how far it has come.
func (w *Worker) Compare(ctx context.Context, c *job.Compare, progress func(job.Progress)) (*job.Comparison, error) {
	m, err := w.call(ctx, w.options.Timeout, &job.Message{Compare: c}, func(m *job.Message) bool {
		if m.Progress != nil && progress != nil {
			progress(*m.Progress)
		}
		return m.Comparison != nil
	})
	if err != nil {
		return nil, err
	}
	if err := checkComparison(m.Comparison); err != nil {
		return nil, w.end(err)
	}
	if m.Comparison.Failure != nil {
		m.Comparison.Failure = cleanError(m.Comparison.Failure)
	}
	return m.Comparison, nil
}

// Sum has the worker compute the digest of what an image shows. progress, which
// may be nil, is told how far it has come.
func (w *Worker) Sum(ctx context.Context, s *job.Sum, progress func(job.Progress)) (*job.Digest, error) {
	m, err := w.call(ctx, w.options.Timeout, &job.Message{Sum: s}, func(m *job.Message) bool {
		if m.Progress != nil && progress != nil {
			progress(*m.Progress)
		}
		return m.Digest != nil
	})
	if err != nil {
		return nil, err
	}
	if err := checkDigest(m.Digest); err != nil {
		return nil, w.end(err)
	}
	if m.Digest.Size != s.Size {
		return nil, w.end(hostile("the digest of %d bytes in place of %d", m.Digest.Size, s.Size))
	}
	return m.Digest, nil
}

// call sends a job and receives until final says that its answer has come.
// Progress is checked before final sees it; every other message that is not
// final ends the worker.
func (w *Worker) call(ctx context.Context, limit time.Duration, m *job.Message, final func(*job.Message) bool) (*job.Message, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, &TimeoutError{Limit: limit})
		defer cancel()
	}
	stop := context.AfterFunc(ctx, func() { w.end(context.Cause(ctx)) })
	defer stop()
	if m != nil {
		if err := w.conn.Send(m, -1); err != nil {
			return nil, w.ended(err)
		}
	}
	asked, warnings, snapshots := m, 0, 0
	for {
		m, fd, err := w.conn.Receive()
		switch {
		case errors.Is(err, job.ErrMessage):
			return nil, w.end(hostile("%v", err))
		case err != nil:
			return nil, w.ended(err)
		case fd >= 0:
			unix.Close(fd)
			return nil, w.end(hostile("a descriptor came with it"))
		case m.Error != nil:
			return nil, cleanError(m.Error)
		case m.Progress != nil:
			if err := checkProgress(m.Progress); err != nil {
				return nil, w.end(err)
			}
			if final(m) {
				return nil, w.end(hostile("progress in place of an answer"))
			}
		case m.Warning != nil:
			if warnings++; warnings > job.MaxWarnings || m.Warning.Offset < 0 {
				return nil, w.end(hostile("warning %d, at %d", warnings, m.Warning.Offset))
			}
			if m.Warning.Failure != nil {
				m.Warning.Failure = cleanError(m.Warning.Failure)
			}
			if final(m) {
				return nil, w.end(hostile("a warning in place of an answer"))
			}
		case len(m.Snapshots) > 0 && asked != nil && asked.Inspect != nil:
			if snapshots += len(m.Snapshots); snapshots > job.MaxSnapshotsImage || final(m) {
				return nil, w.end(hostile("%d snapshots", snapshots))
			}
		case final(m):
			return m, nil
		default:
			return nil, w.end(hostile("an answer to another question"))
		}
	}
}

// end kills the worker because of err and returns err.
func (w *Worker) end(err error) error {
	w.cause.CompareAndSwap(nil, &err)
	w.proc.command().Process.Kill()
	return err
}

// ended returns why the worker went away, having been found out by err: the
// host's own reason if it killed the worker, else what the wall has to say.
func (w *Worker) ended(err error) error {
	if cause := w.cause.Load(); cause != nil {
		return *cause
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ESRCH) {
		w.Close()
		err = w.proc.explain(w.waitErr)
	}
	return w.end(err)
}

// Close ends the worker and waits for it. It may be called more than once.
func (w *Worker) Close() {
	w.closed.Do(func() {
		unix.Close(w.control)
		w.conn = job.NewConn(-1)
		select {
		case <-w.exited:
		case <-time.After(closeTimeout):
			w.proc.command().Process.Kill()
			<-w.exited
		}
		w.proc.collect(&w.report)
	})
}

// closeTimeout is how long a worker whose control channel was closed may take
// to exit by itself.
const closeTimeout = time.Second

// Report says which wall the worker runs behind, and after Close what it did.
func (w *Worker) Report() Report { return w.report }
