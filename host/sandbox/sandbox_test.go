package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"instar/host/sandbox/jail"
	"instar/host/sandbox/kvm"
	"instar/job"
)

// The test binary is its own worker: the temporary file that stands for the
// image has the name of the script that the worker plays.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case kvm.VMMName:
		os.Exit(kvm.Main())
	case jail.Name:
		if err := jail.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(playWorker())
	case guestName:
		os.Exit(playWorker())
	case hostName:
		os.Exit(playHost())
	}
	os.Exit(m.Run())
}

// spun counts what a worker that spins does.
var spun uint64

var sound = job.Inspection{Format: "raw", VirtualSize: 512}

// scripts are what a worker does when it is asked to inspect.
var scripts = map[string]func(c *job.Conn, fd int){
	"honest": func(c *job.Conn, _ int) { c.Send(&job.Message{Inspection: &sound}, -1) },
	"spins": func(*job.Conn, int) {
		for {
			spun++
		}
	},
	"silent": func(*job.Conn, int) { time.Sleep(time.Minute) },
	"exits":  func(*job.Conn, int) { os.Exit(3) },
	"panics": func(*job.Conn, int) { panic("a \x1b[31mred\x1b[0m panic") },
	"killed": func(*job.Conn, int) { unix.Kill(os.Getpid(), unix.SIGKILL) },
	"reads": func(c *job.Conn, fd int) {
		p := make([]byte, 16)
		n, _ := unix.Pread(fd, p, 0)
		c.Send(&job.Message{Error: &job.Error{Kind: job.ErrOpen, Message: string(p[:n])}}, -1)
	},
	"escapes": func(c *job.Conn, _ int) {
		c.Send(&job.Message{Error: &job.Error{Kind: job.ErrOpen, Message: "a\nb\x1b[2J\xff", Errno: 1 << 20}}, -1)
	},
	"babbles":      func(*job.Conn, int) { unix.Write(3, []byte("\x05\x00\x00\x00hello")) },
	"endless":      func(*job.Conn, int) { unix.Write(3, binary.LittleEndian.AppendUint32(nil, job.MaxMessage+1)) },
	"unknown":      func(*job.Conn, int) { frame(`{"surprise":{}}`) },
	"empty":        func(*job.Conn, int) { frame(`{}`) },
	"two at once":  func(*job.Conn, int) { frame(`{"hello":{},"result":{"copied":0,"offloaded":0,"zeroed":0}}`) },
	"trailing":     func(*job.Conn, int) { frame(`{"hello":{}} {}`) },
	"cut short":    func(*job.Conn, int) { unix.Write(3, []byte("\x05\x00\x00\x00he")); os.Exit(0) },
	"result":       func(c *job.Conn, _ int) { c.Send(&job.Message{Result: &job.Result{}}, -1) },
	"grants":       func(c *job.Conn, _ int) { c.Send(&job.Message{Grant: &job.Grant{}}, 0) },
	"bad progress": func(c *job.Conn, _ int) { c.Send(&job.Message{Progress: &job.Progress{Done: 2, Total: 1}}, -1) },
	"bad size": func(c *job.Conn, _ int) {
		c.Send(&job.Message{Inspection: &job.Inspection{Format: "raw", VirtualSize: -1}}, -1)
	},
	"odd size": func(c *job.Conn, _ int) {
		c.Send(&job.Message{Inspection: &job.Inspection{Format: "raw", VirtualSize: 7}}, -1)
	},
	"bad format": func(c *job.Conn, _ int) { c.Send(&job.Message{Inspection: &job.Inspection{Format: "r\x1bw"}}, -1) },
	"bad reference": func(c *job.Conn, _ int) {
		i := sound
		i.References = []job.Reference{{Kind: "window", Names: []string{"x"}}}
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"many options": func(c *job.Conn, _ int) {
		i := sound
		i.Options = map[string]string{}
		for k := range maxOptions + 1 {
			i.Options[strconv.Itoa(k)] = ""
		}
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"long option": func(c *job.Conn, _ int) {
		i := sound
		i.Options = map[string]string{"compat": strings.Repeat("x", maxText+1)}
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"long loss": func(c *job.Conn, _ int) {
		i := sound
		i.Lost = strings.Repeat("x", maxText+1)
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"long name": func(c *job.Conn, _ int) {
		i := sound
		i.References = []job.Reference{{Kind: job.BackingFile, Names: []string{strings.Repeat("x", maxText+1)}}}
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"snapshots": func(c *job.Conn, _ int) {
		c.Send(&job.Message{Snapshots: []job.Snapshot{{ID: "1"}, {ID: "2"}}}, -1)
		i := sound
		i.Snapshots = []job.Snapshot{{ID: "3"}}
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"snapshots without end": func(c *job.Conn, _ int) {
		for c.Send(&job.Message{Snapshots: make([]job.Snapshot, 1024)}, -1) == nil {
		}
	},
	"deep details": func(c *job.Conn, _ int) {
		i := sound
		d := []job.Detail{{Key: "x"}}
		for range 100 {
			d = []job.Detail{{Key: "x", Object: d}}
		}
		i.Details = d
		c.Send(&job.Message{Inspection: &i}, -1)
	},
	"writes": func(c *job.Conn, fd int) {
		text := "written"
		if _, err := unix.Pwrite(fd, []byte("12345678"), 1020); err != nil {
			text = err.Error()
		}
		c.Send(&job.Message{Error: &job.Error{Kind: job.ErrWrite, Message: text}}, -1)
	},
}

// digests are what a worker answers to the question for a digest of 512 bytes.
var digests = map[job.Hash]*job.Message{
	"honest":       {Digest: &job.Digest{Sum: make([]byte, 32), Size: 512}},
	"none":         {Digest: &job.Digest{Size: 512}},
	"short":        {Digest: &job.Digest{Sum: make([]byte, 31), Size: 512}},
	"long":         {Digest: &job.Digest{Sum: make([]byte, 1<<18), Size: 512}},
	"of more":      {Digest: &job.Digest{Sum: make([]byte, 32), Size: 1024}},
	"a result":     {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: 512}}},
	"an error":     {Error: &job.Error{Kind: job.ErrRead, Message: "a\x1bb"}},
	"bad progress": {Progress: &job.Progress{Done: 513, Total: 512}},
	"snapshots":    {Snapshots: []job.Snapshot{{ID: "1"}}},
}

// results are what a worker answers to the wish for a copy with a digest.
var results = map[job.Hash]*job.Message{
	"honest":        {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: 512}}},
	"empty":         {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32)}}},
	"none":          {Result: &job.Result{}},
	"short":         {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 31)}}},
	"negative":      {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: -512}}},
	"odd":           {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: 511}}},
	"huge":          {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: math.MaxInt64 - 1}}},
	"only a digest": {Digest: &job.Digest{Sum: make([]byte, 32), Size: 512}},
	"":              {Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: 512}}}, // not asked for
}

func frame(body string) {
	unix.Write(3, append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...))
}

func playWorker() int {
	c := job.NewConn(3)
	c.Send(&job.Message{Hello: &job.Hello{}}, -1)
	fds := map[int]int{}
	for {
		m, fd, err := c.Receive()
		switch {
		case err == io.EOF:
			return 0
		case err != nil:
			return 1
		case m.Grant != nil:
			fds[m.Grant.ID] = fd
		case m.Inspect != nil:
			scripts[m.Inspect.Format](c, fds[m.Inspect.ID])
		case m.Sum != nil:
			c.Send(digests[m.Sum.Hash], -1)
		case m.Execute != nil:
			c.Send(results[m.Execute.Hash], -1)
		}
	}
}

// eachWall runs a test behind each wall that this machine has.
func eachWall(t *testing.T, test func(t *testing.T, wall Wall)) {
	for _, wall := range []Wall{None, Jail, KVM} {
		t.Run(string(wall), func(t *testing.T) {
			t.Parallel()
			test(t, wall)
		})
	}
}

func startTest(t *testing.T, o Options) *Worker {
	t.Helper()
	w, err := Start(context.Background(), o)
	var u *UnavailableError
	if errors.As(err, &u) && o.Wall == KVM {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func openTest(t *testing.T, flags int, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestInspect(t *testing.T) {
	isCrash := func(err error) bool { var e *CrashError; return errors.As(err, &e) }
	isTimeout := func(err error) bool { var e *TimeoutError; return errors.As(err, &e) }
	isHostile := func(err error) bool { return errors.Is(err, errHostile) }
	says := func(text string) func(error) bool {
		return func(err error) bool {
			var e *job.Error
			return errors.As(err, &e) && e.Message == text && e.Errno == 0
		}
	}
	for script, want := range map[string]func(error) bool{
		"honest":        func(err error) bool { return err == nil },
		"reads":         says("content"),
		"escapes":       says(`a\nb\x1b[2J\ufffd`),
		"silent":        isTimeout,
		"exits":         isCrash,
		"panics":        isCrash,
		"killed":        isCrash,
		"babbles":       isHostile,
		"endless":       isHostile,
		"unknown":       isHostile,
		"empty":         isHostile,
		"two at once":   isHostile,
		"trailing":      isHostile,
		"cut short":     isHostile,
		"result":        isHostile,
		"grants":        func(err error) bool { return isHostile(err) || isCrash(err) }, // a wall has no sendmsg
		"bad progress":  isHostile,
		"bad size":      isHostile,
		"odd size":      isHostile,
		"bad format":    isHostile,
		"bad reference": isHostile,
		"long name":     isHostile,
		"many options":  isHostile,
		"long option":   isHostile,
		"long loss":     isHostile,
		"deep details":  isHostile,
	} {
		t.Run(script, func(t *testing.T) {
			eachWall(t, func(t *testing.T, wall Wall) {
				w := startTest(t, Options{Wall: wall, Timeout: time.Second})
				id, err := w.Grant(openTest(t, os.O_RDONLY, "content"), job.Read, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, err = w.Inspect(context.Background(), job.Inspect{ID: id, Format: script})
				if !want(err) {
					t.Errorf("got %v (%T)", err, err)
				}
				if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("%q is not fit to be shown", err)
				}
			})
		})
	}
}

// An image can have more snapshots than one message has room for, and not any
// number of them.
func TestSnapshots(t *testing.T) { eachWall(t, testSnapshots) }

func testSnapshots(t *testing.T, wall Wall) {
	w := startTest(t, Options{Wall: wall})
	i, err := w.Inspect(context.Background(), job.Inspect{Format: "snapshots"})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range i.Snapshots {
		ids = append(ids, s.ID)
	}
	if got := strings.Join(ids, " "); got != "1 2 3" {
		t.Errorf("snapshots %s", got)
	}
	if _, err := w.Inspect(context.Background(), job.Inspect{Format: "snapshots without end"}); !errors.Is(err, errHostile) {
		t.Errorf("snapshots without end: %v", err)
	}
}

// What a worker says is a digest has to be one, and of what was asked for.
func TestDigestsAreChecked(t *testing.T) { eachWall(t, testDigestsAreChecked) }

func testDigestsAreChecked(t *testing.T, wall Wall) {
	check := func(what string, err error, honest bool) {
		var e *job.Error
		switch {
		case honest && err == nil:
		case errors.As(err, &e) && e.Message == `a\x1bb`:
		case honest, !errors.Is(err, errHostile):
			t.Errorf("%s: %v", what, err)
		}
	}
	for hash := range digests {
		w := startTest(t, Options{Wall: wall})
		_, err := w.Sum(context.Background(), &job.Sum{Hash: hash, Size: 512}, nil)
		check("a digest: "+string(hash), err, hash == "honest")
	}
	for hash := range results {
		w := startTest(t, Options{Wall: wall})
		_, err := w.Execute(context.Background(), &job.Execution{Hash: hash}, nil, nil)
		check("a copy: "+string(hash), err, hash == "honest" || hash == "empty")
	}
}

func TestCrashKeepsTheLog(t *testing.T) { eachWall(t, testCrashKeepsTheLog) }

func testCrashKeepsTheLog(t *testing.T, wall Wall) {
	w := startTest(t, Options{Wall: wall})
	_, err := w.Inspect(context.Background(), job.Inspect{Format: "panics"})
	var crash *CrashError
	if !errors.As(err, &crash) || !strings.Contains(crash.Log, `a \x1b[31mred`) {
		t.Errorf("got %#v", err)
	}
	if _, again := w.Inspect(context.Background(), job.Inspect{Format: "honest"}); again == nil {
		t.Error("a worker that crashed took another job")
	}
}

func TestCancel(t *testing.T) { eachWall(t, testCancel) }

func testCancel(t *testing.T, wall Wall) {
	w := startTest(t, Options{Wall: wall})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := w.Inspect(ctx, job.Inspect{Format: "silent"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestCeiling shows that the kernel refuses what a worker writes beyond the
// ceiling of its output, whatever the worker does.
func TestCeiling(t *testing.T) { eachWall(t, testCeiling) }

func testCeiling(t *testing.T, wall Wall) {
	for ceiling, want := range map[int64]string{1028: "written", 1020: "file too large"} {
		w := startTest(t, Options{Wall: wall})
		f := openTest(t, os.O_WRONLY, "")
		id, err := w.Grant(f, job.Write, ceiling)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Inspect(context.Background(), job.Inspect{ID: id, Format: "writes"})
		if err == nil || err.Error() != want {
			t.Errorf("ceiling %d: %v, want %s", ceiling, err, want)
		}
	}
}

// TestCeilingRises shows that a second output may be larger than the first.
func TestCeilingRises(t *testing.T) { eachWall(t, testCeilingRises) }

func testCeilingRises(t *testing.T, wall Wall) {
	w := startTest(t, Options{Wall: wall})
	for _, ceiling := range []int64{16, 1028} {
		id, err := w.Grant(openTest(t, os.O_WRONLY, ""), job.Write, ceiling)
		if err != nil {
			t.Fatal(err)
		}
		if ceiling < 1028 {
			continue
		}
		if _, err := w.Inspect(context.Background(), job.Inspect{ID: id, Format: "writes"}); err == nil || err.Error() != "written" {
			t.Errorf("ceiling %d: %v", ceiling, err)
		}
	}
}

// TestSecondJob shows that a worker serves one job after another, and that what
// is taken back is gone.
func TestSecondJob(t *testing.T) { eachWall(t, testSecondJob) }

func testSecondJob(t *testing.T, wall Wall) {
	w := startTest(t, Options{Wall: wall})
	for i := range 3 {
		id, err := w.Grant(openTest(t, os.O_RDONLY, "content"), job.Read, 0)
		if err != nil {
			t.Fatal(err)
		}
		if id != i {
			t.Errorf("grant %d has the number %d", i, id)
		}
		if _, err := w.Inspect(context.Background(), job.Inspect{ID: id, Format: "reads"}); err == nil || err.Error() != "content" {
			t.Errorf("job %d: %v", i, err)
		}
		if err := w.Revoke(id); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	w.Close()
	if lines := w.Report().Lines(); len(lines) == 0 || lines[0] != "sandbox: "+string(wall) {
		t.Errorf("the report is %q", lines)
	}
}

// TestHostDies shows that no worker outlives the process that started it.
func TestHostDies(t *testing.T) { eachWall(t, testHostDies) }

const hostName = "host"

// playHost starts a worker, says its process number, and waits to be killed.
func playHost() int {
	w, err := Start(context.Background(), Options{Wall: Wall(os.Args[1])})
	if err != nil {
		fmt.Println(0, err)
		return 1
	}
	fmt.Println(w.proc.command().Process.Pid)
	w.Inspect(context.Background(), job.Inspect{Format: "spins"})
	return 1
}

func testHostDies(t *testing.T, wall Wall) {
	if w, err := Start(context.Background(), Options{Wall: wall}); err != nil {
		t.Skip(err)
	} else {
		w.Close()
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{hostName, string(wall)}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil || pid == 0 {
		t.Fatalf("the host says %d, %v", pid, err)
	}
	time.Sleep(100 * time.Millisecond) // until it spins
	cmd.Process.Kill()
	cmd.Wait()
	for range 100 {
		if err := unix.Kill(pid, 0); err == unix.ESRCH || zombie(pid) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
	unix.Kill(pid, unix.SIGKILL)
}

// zombie reports whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// TestTerminal shows that what is typed at a terminal does not reach a worker:
// it is in no process group of its host's.
func TestTerminal(t *testing.T) { eachWall(t, testTerminal) }

func testTerminal(t *testing.T, wall Wall) {
	w := startTest(t, Options{Wall: wall})
	pid := w.proc.command().Process.Pid
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process %d is in group %d, %v", pid, group, err)
	}
}

func TestAuto(t *testing.T) {
	w := startTest(t, Options{})
	r := w.Report()
	switch {
	case r.Wall == KVM && len(r.Unused) == 0:
	case r.Wall == Jail && len(r.Unused) == 1 && r.Unused[0].Wall == KVM && r.Unused[0].Err != nil:
		if lines := r.Lines(); !strings.Contains(lines[1], "sandbox: kvm not used: ") {
			t.Errorf("the report is %q", lines)
		}
	default:
		t.Errorf("the report is %+v", r)
	}
}

func TestDoctor(t *testing.T) {
	statuses := Doctor(context.Background(), Options{})
	if len(statuses) != 2 || statuses[0].Wall != KVM || statuses[1].Wall != Jail {
		t.Fatalf("got %+v", statuses)
	}
	auto := startTest(t, Options{}).Report().Wall
	for _, s := range statuses {
		if s.Chosen != (s.Wall == auto) || s.Chosen && s.Why == "" {
			t.Errorf("auto takes %s, and the doctor says %+v", auto, s)
		}
		if s.Usable != (s.Err == nil) || s.Usable && len(s.Features) == 0 {
			t.Errorf("%+v", s)
		}
	}
	if !statuses[1].Usable || statuses[1].Features[1].Name != "seccomp filter" {
		t.Errorf("%+v", statuses[1])
	}
}

// TestWarning shows that only the absence of a wall is worth a warning.
func TestWarning(t *testing.T) {
	eachWall(t, func(t *testing.T, wall Wall) {
		warnings := 0
		startTest(t, Options{Wall: wall, Warn: func(string) { warnings++ }})
		if warned := warnings > 0; warned != (wall == None) {
			t.Errorf("%d warnings", warnings)
		}
	})
}

func TestExecutableThatIsNoWorker(t *testing.T) {
	for _, exe := range []string{"/bin/true", "/dev/null", "/no/such/file"} {
		for _, wall := range Walls {
			_, err := Start(context.Background(), Options{Wall: wall, Executable: exe})
			var u *UnavailableError
			if !errors.As(err, &u) || u.Wall != wall || u.Hint == "" {
				t.Errorf("%s, %s: %v", exe, wall, err)
			}
		}
	}
}

func TestMemoryOutOfRange(t *testing.T) {
	for _, memory := range []int64{-1, 1, MinMemory - 1, MaxMemory + 1} {
		if _, err := Start(context.Background(), Options{Memory: memory}); err == nil || !strings.Contains(err.Error(), "MiB of memory") {
			t.Errorf("%d bytes: %v", memory, err)
		}
	}
}

// TestCancelledStart shows that nothing is started for somebody who has gone.
func TestCancelledStart(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, wall := range Walls {
		if w, err := Start(ctx, Options{Wall: wall}); err == nil {
			w.Close()
			t.Errorf("%s: no error", wall)
		} else if err != context.Canceled {
			t.Errorf("%s: %v", wall, err)
		}
	}
}

// TestLockedIn looks at a jailed worker from outside.
func TestLockedIn(t *testing.T) {
	w := startTest(t, Options{Wall: Jail})
	process := fmt.Sprintf("/proc/%d/", w.proc.command().Process.Pid)
	threads, err := os.ReadDir(process + "task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile(process + "task/" + thread.Name() + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Seccomp:\t2\n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("thread %s has not %q:\n%s", thread.Name(), want, b)
			}
		}
	}
	limits, err := os.ReadFile(process + "limits")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`Max core file size +0 +0 `, `Max file size +0 `, `Max open files +\d{1,4} +\d{1,4} `, `Max data size +\d{9} +\d{9} `} {
		if !regexp.MustCompile(want).Match(limits) {
			t.Errorf("not %q in\n%s", want, limits)
		}
	}
	if fds, err := os.ReadDir(process + "fd"); err == nil && len(fds) != 6 { // 0 to 3, and two for timers
		t.Errorf("it has %v", fds)
	}
	if env, err := os.ReadFile(process + "environ"); err == nil && regexp.MustCompile(`HOME|PATH|USER`).Match(env) {
		t.Errorf("its environment is %q", env)
	}
}

func TestParseWall(t *testing.T) {
	for _, w := range Walls {
		if got, err := ParseWall(string(w)); got != w || err != nil {
			t.Errorf("ParseWall(%q) = %q, %v", w, got, err)
		}
	}
	for _, name := range []string{"", "KVM", "docker", "kvm "} {
		if got, err := ParseWall(name); err == nil {
			t.Errorf("ParseWall(%q) = %q", name, got)
		}
	}
}
