// Package hostile has the images that are made to do harm, and asserts what
// comes of each: behind either wall, by info, dd and convert, within a time
// and a memory.
//
// Each attack is a function that writes image, and what goes with it, into a
// folder. What comes of it is in testdata/outcomes: exit code, and what kind of
// message. After a change, go test ./test/hostile -update writes those of
// the attacks that -run selects anew, to be read line by line.
package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"instar/internal/program"
)

func TestMain(m *testing.M) {
	if os.Getenv(meterVariable) != "" {
		os.Exit(meter(os.Args[1:]))
	}
	for _, add := range []func(){qcow2Attacks, vhdAttacks, vmdkAttacks, dmgAttacks, qedAttacks, otherAttacks} {
		add()
	}
	os.Exit(program.Main(m))
}

var update = flag.Bool("update", false, "write testdata/outcomes anew")

// An attack writes an image, and what goes with it, into a folder.
type attack struct {
	name string
	make func(d *folder)
}

var attacks []attack

func add(name string, make func(d *folder)) { attacks = append(attacks, attack{name, make}) }

func find(name string) attack {
	return attacks[slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })]
}

// Limits of a run: of the host and its workers together.
const (
	timeLimit   = 10 * time.Second // of the processor
	waitLimit   = time.Minute      // by the clock, which goes on while others have the processor
	memoryLimit = 512 << 20
	outputLimit = 300 << 20 // allocated, of what convert writes
)

var commands = []string{"info", "dd", "convert", "strict"}

// writes reports whether a command has an output; the others are info's.
func writes(command string) bool { return command == "dd" || command == "convert" }

func TestAttacks(t *testing.T) {
	slices.SortFunc(attacks, func(a, b attack) int { return strings.Compare(a.name, b.name) })
	want := outcomes(t)
	var mu sync.Mutex
	got := map[string]string{}
	all := os.Getenv("INSTAR_HOSTILE") == "all"
	for _, a := range attacks {
		for _, command := range commands {
			if want[a.name+" "+command] == "" && !*update {
				t.Errorf("%s: nothing is recorded of %s", a.name, command)
			}
		}
	}
	t.Run("all", func(t *testing.T) {
		for k, a := range attacks {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				d := newFolder(t)
				a.make(d)
				for c, command := range commands {
					for w, wall := range program.Walls() {
						// Without INSTAR_HOSTILE=all each attack has one
						// command in the jail, and some one in the microVM.
						if sampled := (k+c)%len(commands) == 0 && (w == 0 || k/len(commands)%8 == 0); !all && !sampled && (!*update || w > 0) {
							continue
						}
						is := d.attempt(command, wall)
						mu.Lock()
						got[a.name+" "+command] = is
						mu.Unlock()
						if w := want[a.name+" "+command]; is != w && !*update {
							t.Errorf("%s behind %s: %s; want %s", command, wall, is, w)
						}
					}
				}
			})
		}
	})
	t.Logf("%d attacks; most memory: %d MiB (%s); most processor time: %v (%s)",
		len(attacks), worst.memory>>20, worst.hungry, worst.time.Round(time.Millisecond), worst.slow)
	if *update {
		maps.Copy(want, got)
		save(t, want)
	}
}

func newFolder(t *testing.T) *folder {
	top := t.TempDir()
	d := &folder{t: t, path: filepath.Join(top, "images"), canary: filepath.Join(top, "canary")}
	if err := errors.Join(os.Mkdir(d.path, 0o755), os.WriteFile(d.canary, bytes.Repeat([]byte("CANARY! "), 1<<17), 0o644)); err != nil {
		t.Fatal(err)
	}
	surround(d)
	return d
}

// attempt runs a command on the image and says what came of it, having checked
// what is asked of every run.
func (d *folder) attempt(command, wall string) string {
	d.t.Helper()
	args := map[string][]string{
		"info":    {"info", "--sandbox=" + wall, "image"},
		"dd":      {"dd", "--sandbox=" + wall, "-O", "raw", "if=image", "of=out"},
		"convert": {"convert", "--sandbox=" + wall, "-O", "qcow2", "image", "out"},
		"strict":  {"info", "--strict", "--sandbox=" + wall, "image"},
	}[command]
	if d.format != "" {
		args = slices.Insert(args, 1, "-f", d.format)
	}
	if d.isLUKS() {
		args = append([]string{args[0], "--object", "secret,id=s,data=wrong", "--image-opts"}, args[1:]...)
		for k, arg := range args {
			if name, ok := strings.CutSuffix(arg, "image"); ok {
				args[k] = name + "driver=luks,key-secret=s,file.filename=image"
			}
		}
	}
	before := d.listing()
	opened := d.watch()
	r := d.run(args)
	if opened() {
		d.t.Errorf("%s behind %s: the canary was opened", command, wall)
	}
	d.checkMessage(command, wall, r)
	return d.checkFiles(command, wall, r, before)
}

func (d *folder) isLUKS() bool {
	head := make([]byte, 6)
	f, err := os.Open(filepath.Join(d.path, "image"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	f.ReadAt(head, 0)
	return string(head) == "LUKS\xba\xbe"
}

type result struct {
	code           int
	stdout, stderr string
	memory         int64 // at the most, of all processes
}

// run runs the program. The kernel holds it to the memory, and to the size of a
// file, so that a disk of an exbibyte does not fill the one we are on.
func (d *folder) run(args []string) result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), waitLimit)
	defer cancel()
	limits := fmt.Sprintf(`ulimit -d %d; ulimit -f %d; exec "$@"`, memoryLimit>>10, 1<<30/512)
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"/bin/sh", "-c", limits, "sh", program.Instar()}, args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = d.path, append(os.Environ(), meterVariable+"=1"), 10*time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	took, write, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	defer took.Close()
	cmd.ExtraFiles = []*os.File{write}
	err = cmd.Start()
	write.Close()
	if err != nil {
		d.t.Fatal(err)
	}
	peak := watchMemory(cmd.Process.Pid)
	cmd.Wait()
	together := peak()
	var u usage
	if err := json.NewDecoder(took).Decode(&u); ctx.Err() != nil || err != nil {
		d.t.Fatalf("%q: not done after %v, or %v\n%s", args, waitLimit, err, stderr.String())
	}
	u.Memory = max(together, u.Memory)
	d.account(args, u)
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), u.Memory}
}

// watch begins to watch the canary; what it returns says whether it was opened.
func (d *folder) watch() func() bool {
	d.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := unix.InotifyAddWatch(fd, d.canary, unix.IN_OPEN|unix.IN_ACCESS|unix.IN_MODIFY); err != nil {
		d.t.Fatal(err)
	}
	return func() bool {
		defer unix.Close(fd)
		n, _ := unix.Read(fd, make([]byte, 4096))
		return n > 0
	}
}

func (d *folder) listing() []string {
	d.t.Helper()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// neverSaid is what no message may have: what a Go program says when it
// crashes, and what reached a terminal from an image.
var neverSaid = regexp.MustCompile(`panic|goroutine|internal error|runtime|\.go:|[\x00-\x09\x0b-\x1f\x7f]|root:|CANARY!`)

// checkMessage checks that a failure is one line, and a success none.
func (d *folder) checkMessage(command, wall string, r result) {
	d.t.Helper()
	complain := func(what string) {
		d.t.Errorf("%s behind %s: %s: exit code %d, stderr %.600q", command, wall, what, r.code, r.stderr)
	}
	lines := strings.Count(r.stderr, "\n")
	switch {
	case r.code != 0 && r.code != 1:
		complain("neither success nor failure")
	case r.code == 1 && (lines != 1 || !strings.HasPrefix(r.stderr, "instar: ")):
		complain("not one line")
	case r.code == 1 && writes(command) && r.stdout != "":
		complain("standard output")
	case len(r.stderr) > 4096:
		complain("a long message")
	case neverSaid.MatchString(r.stderr):
		complain("a message that should not be")
	case neverSaid.MatchString(strings.ReplaceAll(r.stdout, "\t", " ")):
		d.t.Errorf("%s behind %s: %q", command, wall, r.stdout)
	}
}

// checkFiles checks that a failure left nothing and a success not much, and
// says what came of the run.
func (d *folder) checkFiles(command, wall string, r result, before []string) string {
	d.t.Helper()
	out := filepath.Join(d.path, "out")
	defer os.Remove(out)
	if r.code == 0 && writes(command) {
		before = append(before, "out")
		slices.Sort(before)
	}
	if after := d.listing(); !slices.Equal(before, after) {
		d.t.Errorf("%s behind %s, exit code %d: there were %q, and then %q", command, wall, r.code, before, after)
	}
	if r.code != 0 {
		return fmt.Sprintf("%d %s", r.code, class(r.stderr))
	}
	if !writes(command) {
		return "0 " + d.described(r.stdout)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(out, &st); err != nil {
		d.t.Fatal(err)
	}
	if command == "convert" && st.Blocks*512 > outputLimit {
		d.t.Errorf("%s: %d MiB allocated", command, st.Blocks*512>>20)
	}
	if d.holds(out, "CANARY!") || d.holds(out, "root:") {
		d.t.Errorf("%s behind %s: the output has what an image may not reach", command, wall)
	}
	if command == "dd" {
		return fmt.Sprintf("0 %d bytes", st.Size)
	}
	return "0 written"
}

// holds reports whether the first MiB of a file has a text in it.
func (d *folder) holds(name, text string) bool {
	d.t.Helper()
	f, err := os.Open(name)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 1<<20)
	n, _ := f.Read(p)
	return bytes.Contains(p[:n], []byte(text))
}

var (
	formatLine = regexp.MustCompile(`(?m)^file format: (\S+)$`)
	sizeLine   = regexp.MustCompile(`(?m)^virtual size: .*\((\d+) bytes\)$`)
)

// described is what info said an image is.
func (d *folder) described(stdout string) string {
	format, size := formatLine.FindStringSubmatch(stdout), sizeLine.FindStringSubmatch(stdout)
	if format == nil || size == nil {
		return "undescribed"
	}
	return format[1] + " of " + size[1]
}

// classes of messages, the first that matches counts. What names the image is
// not looked at.
var classes = []struct{ class, pattern string }{
	{"reference", `outside itself`},
	{"malformed", `not well-formed`},
	{"unchecked", `cannot be checked`},
	{"passphrase", `Invalid password|key-secret' is required|passphrase`},
	{"cycle", `cycle|loop|itself`},
	{"depth", `deep|depth|more than 16`},
	{"protocol", `Unknown protocol|protocol`},
	{"policy", `allow|outside|not a regular file|is not in`},
	{"missing", `No such file`},
	{"unsupported", `not supported|[Uu]nsupported|does not support`},
	{"write", `error while writing|File too large`},
	{"read", `error while reading`},
	{"create", `error while creating|error while converting`},
	{"open", `Could not open`},
}

func class(stderr string) string {
	for _, c := range classes {
		if regexp.MustCompile(c.pattern).MatchString(stderr) {
			return c.class
		}
	}
	return "other"
}

const outcomesFile = "testdata/outcomes"

func outcomes(t *testing.T) map[string]string {
	want := map[string]string{}
	p, err := os.ReadFile(outcomesFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(p)) {
		name, is, _ := strings.Cut(strings.TrimSpace(line), ": ")
		want[name] = is
	}
	return want
}

func save(t *testing.T, got map[string]string) {
	var b strings.Builder
	for _, a := range attacks {
		for _, c := range commands {
			if is, ok := got[a.name+" "+c]; ok {
				fmt.Fprintf(&b, "%s %s: %s\n", a.name, c, is)
			}
		}
	}
	if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(outcomesFile, []byte(b.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
}
