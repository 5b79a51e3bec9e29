package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"instar/job"
)

func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// progressValue is the flag -p, which takes the way of showing progress after an
// equals sign.
type progressValue struct{ how string }

func (v *progressValue) Set(s string) error {
	switch s {
	case "line", "bar", "json", "none":
		v.how = s
		return nil
	}
	return fmt.Errorf("invalid progress %q: use line, bar, json or none", s)
}
func (v *progressValue) String() string { return v.how }
func (v *progressValue) Type() string   { return "way" }

func (v *progressValue) add(f *pflag.FlagSet, quiet *bool) {
	f.VarP(v, "progress", "p", "show progress: line (qemu-img's, on standard output), bar or json (on standard error), or none; by default a bar if standard error is a terminal")
	f.Lookup("progress").NoOptDefVal = "line"
	f.BoolVarP(quiet, "quiet", "q", false, "show no progress")
}

// progress shows how far a copy has come.
type progress struct {
	mu    sync.Mutex
	show  shower // nil shows nothing
	last  float64
	stop  func()
	begun bool
	ended bool
}

// A shower shows progress in one way. percent is 0 to 100.
type shower interface {
	step(percent float64, p job.Progress)
	end()
}

// newProgress returns what the flags ask for.
func (p *program) newProgress(v progressValue, quiet bool) *progress {
	how := v.how
	if how == "" && isTerminal(p.stderr) {
		how = "bar"
	}
	s := &progress{stop: func() {}}
	switch {
	case quiet:
	case how == "line":
		s.show = lines{p.stdout.w}
	case how == "bar":
		s.show = &bar{w: p.stderr}
	case how == "json":
		s.show = objects{p.stderr}
	}
	return s
}

// onSignal has SIGUSR1 print a line on w, as it does for qemu-img convert when
// it shows no progress; with a nil w it is ignored.
func (s *progress) onSignal(ctx context.Context, w io.Writer) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				if w != nil && s.show == nil {
					s.mu.Lock()
					fmt.Fprintf(w, "    (%3.2f/100%%)\n", s.last)
					s.mu.Unlock()
				}
			}
		}
	}()
	s.stop = func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}

// begin shows that nothing has been done yet, once.
func (s *progress) begin() {
	if !s.begun {
		s.begun = true
		s.set(0, job.Progress{})
	}
}

// update is told by the worker, whose numbers have been checked.
func (s *progress) update(p job.Progress) {
	percent := 100.0
	if p.Total > 0 {
		percent = float64(p.Done) / float64(p.Total) * 100
	}
	s.mu.Lock()
	step := percent-s.last >= 1 || percent == 100
	s.mu.Unlock()
	if step {
		s.set(percent, p)
	}
}

// first and second are update for the halves of a copy that is read back: as
// many bytes are written as are read.
func (s *progress) first(p job.Progress) { s.update(job.Progress{Done: p.Done / 2, Total: p.Total}) }

func (s *progress) second(p job.Progress) {
	s.update(job.Progress{Done: p.Total/2 + p.Done/2, Total: p.Total})
}

func (s *progress) set(percent float64, p job.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = percent
	if s.show != nil {
		s.show.step(percent, p)
	}
}

// end shows that everything has been done.
func (s *progress) end() {
	s.stop()
	s.ended = true
	if s.show != nil {
		s.show.end()
	}
}

// leave leaves the line that shows progress, as far as it has come. After end it
// does nothing.
func (s *progress) leave() {
	s.stop()
	if s.ended {
		return
	}
	s.ended = true
	switch show := s.show.(type) {
	case lines:
		fmt.Fprintln(show.w)
	case *bar:
		show.leave()
	}
}

// lines is qemu-img's -p: each record in one write.
type lines struct{ w io.Writer }

func (l lines) step(percent float64, _ job.Progress) {
	fmt.Fprintf(l.w, "    (%3.2f/100%%)\r", percent)
}

func (l lines) end() { fmt.Fprintf(l.w, "    (%3.2f/100%%)\r\n", 100.0) }

// objects prints one JSON object a line.
type objects struct{ w io.Writer }

func (o objects) step(percent float64, p job.Progress) { o.print(percent, p.Done, p.Total, false) }

func (o objects) end() { o.print(100, 0, 0, true) }

func (o objects) print(percent float64, done, total int64, finished bool) {
	record := map[string]any{"percent": float64(int(percent*100)) / 100}
	if total > 0 {
		record["done"], record["total"] = done, total
	}
	if finished {
		record["finished"] = true
	}
	line, err := json.Marshal(record)
	if err == nil {
		fmt.Fprintf(o.w, "%s\n", line)
	}
}

// bar is a bar on a terminal.
type bar struct {
	w     io.Writer
	shown bool
}

const barWidth = 40

func (b *bar) step(percent float64, _ job.Progress) {
	n := int(percent / 100 * barWidth)
	b.shown = true
	fmt.Fprintf(b.w, "\r[%s%s] %3.0f%%", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), percent)
}

func (b *bar) end() { b.leave() }

func (b *bar) leave() {
	if b.shown {
		fmt.Fprint(b.w, "\n")
	}
	b.shown = false
}
