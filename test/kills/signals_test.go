package kills

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"instar/internal/program"
)

// A signal ends a run wherever it is, with what has to be undone undone.
func TestSignals(t *testing.T) {
	hup := make(chan os.Signal, 1) // which nohup has ignored, here and in what is started
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	p := newPlace(t, jobs[0])
	fifo := filepath.Join(p.dir, "fifo.raw")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p.slowChain()
	for _, test := range []struct {
		name, command string
		waits         func(pid int) bool // what tells that it has come so far
	}{
		{"a slow copy", "convert -r 1M -O raw new.raw out", p.writing},
		{"a slow copy to several files", "convert -r 1M -O vmdk -o subformat=twoGbMaxExtentFlat new.raw out", p.writing},
		{"a slow compressed copy", "convert -r 100k -c -O qcow2 new.raw out", p.writing},
		{"a passphrase that does not come", "info --passphrase-file fifo.raw new.raw", opening(t, fifo)},
		{"the same before a copy", "dd --passphrase-file fifo.raw if=new.raw of=out", opening(t, fifo)},
		{"a chain that takes long to look at", "convert --passphrase-file pass.raw -O raw chain.raw out", busy},
		{"the same in the jail", "dd --sandbox=jail --passphrase-file pass.raw if=chain.raw of=out", busy},
		{"the same without a copy", "info --backing-chain --passphrase-file pass.raw chain.raw", busy},
	} {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			p.prepare(false)
			cmd := exec.Command(program.Instar(), strings.Fields(test.command)...)
			cmd.Dir = p.dir
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			program.Until(t, test.name, func() bool { return test.waits(cmd.Process.Pid) })
			cmd.Process.Signal(signal)
			cmd.Process.Signal(signal) // somebody has no patience
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 128+int(signal) || stderr.Len() > 0 {
				t.Errorf("%s, %v: %v, %q", test.name, signal, cmd.ProcessState, &stderr)
			}
			for _, name := range names(t, p.dir) {
				if !strings.HasSuffix(name, ".raw") {
					t.Errorf("%s, %v: it leaves %s", test.name, signal, name)
				}
			}
		}
	}
}

// slowChain makes chain.raw, a qcow2 image on one that it takes seconds to open.
func (p *place) slowChain() {
	p.Helper()
	slow := filepath.Join(p.dir, "slow.raw")
	program.MustRun(p, p.dir, nil, program.Instar(), "create", "-q", "-f", "luks", "--object", "secret,id=s,data=x", "-o", "key-secret=s,iter-time=1", "slow.raw", "1M")
	f, err := os.OpenFile(slow, os.O_RDWR, 0)
	if err != nil {
		p.Fatal(err)
	}
	defer f.Close()
	const iterations = 212 // of the first key slot
	if _, err := f.WriteAt([]byte{0x03, 0, 0, 0}, iterations); err != nil {
		p.Fatal(err)
	}
	program.MustRun(p, p.dir, nil, program.Instar(), "create", "-q", "-f", "qcow2", "-u", "-b", "slow.raw", "-F", "luks", "chain.raw", "1M")
	if err := os.WriteFile(filepath.Join(p.dir, "pass.raw"), []byte("x"), 0o600); err != nil {
		p.Fatal(err)
	}
}

// busy reports that the worker of a run has had the processor for longer than it
// takes to start.
func busy(pid int) bool {
	var ticks int
	for _, child := range program.Children(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		_, rest, _ := bytes.Cut(b, []byte(") "))
		if words := bytes.Fields(rest); len(words) > 12 {
			user, _ := strconv.Atoi(string(words[11]))
			ticks += user
		}
	}
	return ticks >= 30
}

// writing reports that a temporary file has content.
func (p *place) writing(int) bool {
	for _, name := range p.leftovers() {
		if info, err := os.Stat(filepath.Join(p.dir, name)); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}

// opening returns what tells that a process waits for the other end of a FIFO:
// that is opened, and nothing is ever written to it.
func opening(t *testing.T, fifo string) func(pid int) bool {
	return func(pid int) bool {
		fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil { // ENXIO: nobody reads
			return false
		}
		t.Cleanup(func() { unix.Close(fd) })
		return true
	}
}

// Who starts a run that is to outlive the terminal has SIGHUP and SIGINT ignored.
func TestIgnoredSignals(t *testing.T) {
	p := newPlace(t, jobs[0])
	cmd := exec.Command("sh", "-c", `trap '' HUP INT; exec "$0" convert -r 12M -O raw new.raw out`, program.Instar())
	cmd.Dir = p.dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Until(t, "a slow copy", func() bool { return p.writing(0) })
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if is := p.output(); is != "new" {
		t.Errorf("the output is %q", is)
	}
}

// Signals that ask for nothing do not disturb a run, however many there are, from
// before it has begun until after it is done; nor does it harm it or its worker to
// be stopped and continued, which has their system calls interrupted.
func TestShowersOfSignals(t *testing.T) {
	for _, j := range jobs[:4] {
		p := newPlace(t, j)
		for _, wall := range program.Walls() {
			p.prepare(true)
			cmd, begun, stopped := p.start(wall), false, 0
			program.Until(t, j.name, func() bool {
				cmd.Process.Signal(syscall.SIGURG)
				cmd.Process.Signal(syscall.SIGWINCH)
				if len(program.Children(cmd.Process.Pid)) > 0 { // it has begun
					begun = true
				}
				if begun {
					cmd.Process.Signal(syscall.SIGUSR1)
				}
				for _, pid := range append(program.Children(cmd.Process.Pid), cmd.Process.Pid) {
					syscall.Kill(pid, syscall.SIGSTOP)
					syscall.Kill(pid, syscall.SIGCONT)
					stopped++
				}
				return dead(cmd.Process.Pid)
			})
			if err := cmd.Wait(); err != nil || stopped < 2 {
				t.Errorf("%s behind %s: %v, after %d stops", j.name, wall, err, stopped)
			}
			if is, left := p.output(), p.leftovers(); is != "new" || len(left) > 0 {
				t.Errorf("%s behind %s: the output is %q, and there are %q", j.name, wall, is, left)
			}
		}
	}
}

// At a prompt, a signal has the terminal show again what is typed.
func TestSignalAtThePrompt(t *testing.T) {
	dir := t.TempDir()
	program.MustRun(t, dir, nil, program.Instar(), "create", "-q", "-f", "luks", "--object", "secret,id=s,data=x", "-o", "key-secret=s,iter-time=1", "disk.luks", "1M")
	for _, command := range []string{"convert -O raw disk.luks out", "dd if=disk.luks of=out"} {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			terminal, theirs := pseudoTerminal(t)
			cmd := exec.Command(program.Instar(), strings.Fields(command)...)
			cmd.Dir, cmd.Stdin = dir, theirs
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			program.Until(t, "the prompt", func() bool { return !echoes(t, theirs) })
			if signal == syscall.SIGINT {
				terminal.Write([]byte{3}) // as it is typed
			} else {
				cmd.Process.Signal(signal)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 128+int(signal) {
				t.Errorf("%s, %v: %v", command, signal, cmd.ProcessState)
			}
			if !echoes(t, theirs) {
				t.Errorf("%s, %v: the terminal does not echo any more", command, signal)
			}
			if left := names(t, dir); len(left) != 1 {
				t.Errorf("%s, %v: it leaves %v", command, signal, left)
			}
		}
	}
}

func pseudoTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// What is not taken by standard output is an error, in one line; but progress is
// no reason to fail.
func TestStandardOutputThatIsFull(t *testing.T) {
	p := newPlace(t, jobs[0])
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	gone, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	defer pipe.Close()
	for command, code := range map[string]int{
		"info new.raw": 1, "info --output=json new.raw": 1, "--help": 1, "help convert": 1, "dd --help": 1, "version": 1,
		"--version": 1, "doctor": 1, "convert -O qcow2 -o help": 1, "create -f raw made 1M": 1, "compare new.raw new.raw": 2, "compare new.raw old.raw": 2,
		"compare -q new.raw new.raw": 0, "compare -q new.raw old.raw": 1, "convert -p -O raw new.raw out": 0, "dd -p if=new.raw of=out": 0, "create -q -f raw made 1M": 0,
	} {
		for why, out := range map[string]*os.File{"No space left on device": full, "Broken pipe": pipe} {
			p.prepare(false)
			cmd := exec.Command(program.Instar(), strings.Fields(command)...)
			cmd.Dir, cmd.Stdout = p.dir, out
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Errorf("%s: %v, want exit code %d", command, cmd.ProcessState, code)
			}
			says := strings.HasSuffix(stderr.String(), "write to standard output: "+why+"\n") && strings.Count(stderr.String(), "\n") == 1
			if quiet := code == 0 || strings.Contains(command, "-q"); quiet != (stderr.Len() == 0) || !quiet && !says {
				t.Errorf("%s: it says %q", command, &stderr)
			}
			switch _, err := os.Stat(filepath.Join(p.dir, "made")); {
			case strings.Contains(command, "of=out"), strings.Contains(command, "raw out"):
				if is := p.output(); is != "new" {
					t.Errorf("%s: the output is %q", command, is)
				}
			case (err == nil) != (strings.HasSuffix(command, "made 1M") && code == 0):
				t.Errorf("%s: made: %v", command, err)
			}
		}
	}
}

// Where standard output is closed, no file of a run takes its place.
func TestStandardOutputThatIsClosed(t *testing.T) {
	p := newPlace(t, jobs[0])
	for _, command := range []string{"convert -p -O raw new.raw out", "dd -p if=new.raw of=out"} {
		program.MustRun(t, p.dir, nil, "sh", "-c", `exec "$0" `+command+` >&- 2>&- <&-`, program.Instar())
		if is := p.output(); is != "new" {
			t.Errorf("%s: the output is %q", command, is)
		}
	}
}
