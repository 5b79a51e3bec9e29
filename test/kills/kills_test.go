// Package kills ends runs at moments of all kinds, the program or its worker, and
// looks at what they leave: the old output or the whole new one, and besides
// that at the most a file that is known for what it is, which the next run of
// the same command removes.
package kills

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"instar/internal/program"
	"instar/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// A job is a command that is ended, and how what it writes is compared.
type job struct {
	name, command string
	size          int64  // of the inputs
	format        string // of the output
	there         bool   // it needs an output that is there before
	inPlace       bool   // and writes into that, of which it leaves the rest as it is
}

const small, large = 12 << 20, 4<<30 + 8<<20

// All write the output "out", which is there before or not.
var jobs = []job{
	{name: "dd", command: "dd -O raw if=new.raw of=out", size: small, format: "raw"},
	{name: "raw", command: "convert -O raw new.raw out", size: small, format: "raw"},
	{name: "qcow2", command: "convert -O qcow2 new.raw out", size: small, format: "qcow2"},
	{name: "compressed", command: "convert -O qcow2 -c new.raw out", size: small, format: "qcow2"},
	{name: "several-files", command: "convert -O vmdk -o subformat=twoGbMaxExtentSparse new.raw out", size: large, format: "vmdk"},
	{name: "into-an-image", command: "convert -n -O qcow2 new.raw out", size: small, format: "qcow2", there: true},
	{name: "in-place", command: "convert -n -O raw new.raw out", size: small, format: "raw", there: true, inPlace: true},
}

// A place is a folder in which a job is run again and again.
type place struct {
	*testing.T
	job
	dir string
}

func newPlace(t *testing.T, j job) *place {
	p := &place{t, j, t.TempDir()}
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"old.raw", "new.raw"} {
		f, err := os.Create(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, small/6)
		for k := range int64(6) { // in each of the files
			for i := range piece {
				piece[i] = byte(r.Uint32()) & 0x3f
			}
			if _, err := f.WriteAt(piece, k*(j.size/6)&^511); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(j.size); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return p
}

// prepare has the old output stand there, or nothing.
func (p *place) prepare(old bool) {
	p.Helper()
	for _, name := range names(p.T, p.dir) {
		if !strings.HasSuffix(name, ".raw") {
			os.Remove(filepath.Join(p.dir, name))
		}
	}
	if old || p.there {
		words := strings.Fields(strings.NewReplacer("new.raw", "old.raw", "-n ", "").Replace(p.command))
		program.MustRun(p, p.dir, nil, program.Instar(), words...)
	}
}

func (p *place) start(wall string) *exec.Cmd {
	p.Helper()
	words := strings.Fields(p.command)
	cmd := exec.Command(program.Instar(), append([]string{words[0], "--sandbox=" + wall}, words[1:]...)...)
	cmd.Dir = p.dir
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	return cmd
}

// output says what stands under the output's name: "", "old", "new", "mixed" (in
// a file that is written in place), or "broken".
func (p *place) output() string {
	if _, err := os.Stat(filepath.Join(p.dir, "out")); err != nil {
		return ""
	}
	for _, is := range []string{"old", "new"} {
		r := program.Run(p, p.dir, nil, program.Instar(), "compare", "-q", "-f", p.format, "-F", "raw", "out", is+".raw")
		if r.Code == 0 {
			return is
		}
	}
	if p.inPlace && p.mixed() {
		return "mixed"
	}
	return "broken"
}

// mixed reports that each byte of the output is the old or the new one.
func (p *place) mixed() bool {
	p.Helper()
	var content [3][]byte
	for k, name := range []string{"out", "old.raw", "new.raw"} {
		var err error
		if content[k], err = os.ReadFile(filepath.Join(p.dir, name)); err != nil {
			p.Fatal(err)
		}
	}
	is, old, new := content[0], content[1], content[2]
	for k := range is {
		if is[k] != old[k] && is[k] != new[k] {
			return false
		}
	}
	return len(is) == len(old)
}

// leftover is what the names of temporary files look like.
var leftover = regexp.MustCompile(`^\.out(-s\d{3})?\.instar-[a-z2-7]{10}$`)

// leftovers returns the files that are no part of the output.
func (p *place) leftovers() []string {
	var list []string
	for _, name := range names(p.T, p.dir) {
		if strings.HasPrefix(name, ".") {
			list = append(list, name)
		}
	}
	return list
}

// after checks what a run that was ended has left, and that the next one puts
// everything right.
func (p *place) after(what string, old, mayLeave bool) string {
	p.Helper()
	is := p.output()
	if is == "broken" || is == "old" && !old && !p.there {
		p.Errorf("%s: the output is %q", what, is)
	}
	for _, name := range p.leftovers() {
		if !mayLeave || !leftover.MatchString(name) {
			p.Errorf("%s: it leaves %s", what, name)
		}
	}
	if is == "" && p.there {
		p.Errorf("%s: the output is gone", what)
		return is
	}
	words := strings.Fields(p.command)
	program.MustRun(p, p.dir, nil, program.Instar(), words...)
	if is := p.output(); is != "new" {
		p.Errorf("%s: after the next run, the output is %q", what, is)
	}
	if left := p.leftovers(); len(left) > 0 {
		p.Errorf("%s: the next run leaves %v", what, left)
	}
	return is
}

func number(name string, without int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return without
}

// The program and its worker are killed at random moments, until INSTAR_KILLS of
// the kills came before a run was done; INSTAR_SEED repeats the moments.
func TestKills(t *testing.T) {
	kills, seed := number("INSTAR_KILLS", 14), number("INSTAR_SEED", time.Now().Unix())
	t.Logf("INSTAR_SEED=%d INSTAR_KILLS=%d", seed, kills)
	count := map[string]int{}
	for k, j := range jobs {
		m := newMoments(t, j, seed, k)
		share, hits := (int(kills)+len(jobs)-1-k)/len(jobs), 0
		for n := 0; hits < share && n < 6*share+6; n++ {
			who := [2]string{"the program", "the worker"}[n%2]
			if m.end(program.Walls()[(n/2)%len(program.Walls())], who, syscall.SIGKILL) {
				count[who]++
				hits++
			} else {
				count["nobody in time"]++
			}
		}
		if hits < share {
			t.Errorf("%s: %d kills of %d came before it was done", j.name, hits, share)
		}
	}
	t.Logf("killed: %v", count)
}

// moments are those at which a job is killed.
type moments struct {
	*place
	*rand.Rand
	took map[string]time.Duration // behind each wall, a run that is not killed
}

func newMoments(t *testing.T, j job, seed int64, k int) *moments {
	return &moments{newPlace(t, j), rand.New(rand.NewPCG(uint64(seed), uint64(k))), map[string]time.Duration{}}
}

// end starts the job and sends a signal to it, or to its worker; it reports whether
// that came before it was done.
func (m *moments) end(wall, who string, signal syscall.Signal) (hit bool) {
	m.Helper()
	if m.took[wall] == 0 {
		m.prepare(true)
		began := time.Now()
		if err := m.start(wall).Wait(); err != nil {
			m.Fatal(err)
		}
		m.took[wall] = time.Since(began)
	}
	old := m.IntN(2) == 0
	m.prepare(old)
	delay := time.Duration(m.Float64() * 0.9 * float64(m.took[wall]))
	what := fmt.Sprintf("%s of %s behind %s, %v after %v", who, m.name, wall, signal, delay)
	began := time.Now()
	cmd := m.start(wall)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if who == "the worker" {
		program.Until(m.T, what, func() bool { return len(done) > 0 || len(program.Children(cmd.Process.Pid)) > 0 })
	}
	var err error
	select {
	case err = <-done: // too late
		m.took[wall] = min(m.took[wall], time.Since(began))
	case <-time.After(delay - time.Since(began)):
		if who == "the program" {
			cmd.Process.Signal(signal)
		} else {
			for _, pid := range program.Children(cmd.Process.Pid) {
				syscall.Kill(pid, signal)
			}
		}
		err = <-done
	}
	code, ended := cmd.ProcessState.ExitCode(), err != nil
	switch {
	case who == "the worker" && ended && code != 1,
		// Where code is less than 0, it had no signals in hand yet, nor anything else.
		signal != syscall.SIGKILL && ended && code >= 0 && code != 128+int(signal):
		m.Errorf("%s: %v", what, err)
	}
	if is := m.after(what, old, who == "the program" && signal == syscall.SIGKILL); !ended && is != "new" {
		m.Errorf("%s: it succeeded, and the output is %q", what, is)
	}
	return ended
}

// SIGINT and SIGTERM at random moments have the run clean up.
func TestInterrupts(t *testing.T) {
	seed, count := number("INSTAR_SEED", time.Now().Unix()), 0
	t.Logf("INSTAR_SEED=%d", seed)
	for k, j := range jobs {
		m := newMoments(t, j, seed, k)
		for n := range 2 {
			if m.end(program.Walls()[(k+n)%len(program.Walls())], "the program", [2]syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[n%2]) {
				count++
			}
		}
	}
	if count == 0 {
		t.Error("no run was interrupted: the test shows nothing")
	}
}

// A worker does not outlive the program that started it.
func TestKilledRunLeavesNoWorker(t *testing.T) {
	p := newPlace(t, job{command: "convert -r 4M -O raw new.raw out", size: small, format: "raw"})
	for _, wall := range program.Walls() {
		cmd := p.start(wall)
		program.Until(t, "the worker", func() bool { return len(p.holders()) > 1 })
		cmd.Process.Kill()
		cmd.Wait()
		program.Until(t, "the end of the worker", func() bool { return len(p.holders()) == 0 })
	}
}

// holders returns the processes that have a file of the folder open.
func (p *place) holders() map[string]bool {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		p.Fatal(err)
	}
	found := map[string]bool{}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, p.dir+"/") {
			found[strings.Split(link, "/")[2]] = true
		}
	}
	return found
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

// dead reports that a process has ended, and was not waited for.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// The program is killed as it puts the output in place: at each call by which
// files take or lose their names.
func TestKilledAtEachRename(t *testing.T) {
	strace := testutil.Require(t, "strace", "strace")
	kills := 0
	for _, j := range jobs[4:6] {
		p := newPlace(t, j)
		for _, old := range []bool{false, true} {
			for _, call := range []string{"renameat", "renameat2", "unlinkat"} {
				for n := 1; ; n++ {
					p.prepare(old)
					words := strings.Fields(j.command)
					cmd := exec.Command(strace, append([]string{
						"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n),
						program.Instar(), words[0], "--sandbox=jail",
					}, words[1:]...)...)
					cmd.Dir = p.dir
					if err := cmd.Run(); err == nil {
						break
					}
					kills++
					p.after(fmt.Sprintf("%s, killed at %s number %d", j.name, call, n), old, true)
				}
			}
		}
	}
	t.Logf("%d kills", kills)
	if kills == 0 {
		t.Error("no run was killed: the test shows nothing")
	}
}
