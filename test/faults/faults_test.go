// Package faults has what goes wrong around a run happen to it: system calls
// that fail, file systems that are full or read-only, limits, files that shrink.
// Whatever happens, a run has written the whole output and exits with 0; or it
// exits with 1, says why in one line, and what stood under the output's name
// stands there, with nothing beside it.
package faults

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

func TestMain(m *testing.M) {
	code := program.Main(m)
	if inputsDir != "" {
		os.RemoveAll(inputsDir)
	}
	os.Exit(code)
}

// inputsDir is where inputs are, once there are any.
var inputsDir string

// complete reports that all faults are to be tried, not a selection.
func complete() bool { return os.Getenv("INSTAR_FAULTS") == "all" }

const old = "what stood there"

// A fixture is a folder with inputs of one content, and an old output.
type fixture struct {
	dir     string
	content []byte
}

// inputs has the images that all runs read.
var inputs = sync.OnceValues(func() (*fixture, error) {
	dir, err := os.MkdirTemp("", "instar-faults-")
	if err != nil {
		return nil, err
	}
	inputsDir = dir
	f := &fixture{dir: dir, content: make([]byte, 3<<20)}
	for i := range f.content { // an eighth of it zeros
		if i>>16%8 != 3 {
			f.content[i] = byte(i*i>>8 ^ i>>16)
		}
	}
	return f, os.WriteFile(filepath.Join(dir, "in.raw"), f.content, 0o644)
})

// newFixture returns a folder with in.raw, in.qcow2 and zip.qcow2 (compressed),
// and an old output, out.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	all, err := inputs()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{dir: t.TempDir(), content: all.content}
	for name, args := range images {
		made := filepath.Join(all.dir, name)
		if len(args) > 0 {
			once(t, made, args)
		}
		if err := os.Link(made, filepath.Join(f.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	f.renew(t)
	return f
}

var images = map[string][]string{
	"in.raw":    nil,
	"in.qcow2":  {"convert", "-O", "qcow2"},
	"zip.qcow2": {"convert", "-O", "qcow2", "-c"},
}

var making sync.Mutex

// once converts in.raw, unless that has been done.
func once(t *testing.T, path string, args []string) {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	if _, err := os.Stat(path); err != nil {
		program.MustRun(t, filepath.Dir(path), nil, program.Instar(), append(args, "in.raw", path)...)
	}
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

// renew puts the old output under its name again.
func (f *fixture) renew(t *testing.T) {
	t.Helper()
	os.Remove(f.path("out"))
	if err := os.WriteFile(f.path("out"), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A run is how a command under a fault ended.
type run struct {
	program.Result
	what string
}

// check asserts what is asked of every run, and reports whether it succeeded.
func (f *fixture) check(t *testing.T, r run) bool {
	t.Helper()
	lines := said(r.Stderr)
	for _, name := range left(t, f.dir) {
		t.Errorf("%s: it leaves %s", r.what, name)
		os.RemoveAll(f.path(name))
	}
	if r.Stdout != "" {
		t.Errorf("%s: it prints %q", r.what, r.Stdout)
	}
	got, err := os.ReadFile(f.path("out"))
	if err != nil {
		t.Errorf("%s: %v", r.what, err)
	}
	switch r.Code {
	case 0:
		if len(lines) != 0 {
			t.Errorf("%s: it exits with 0, and says %q", r.what, lines)
		}
		if bytes.Equal(got, f.content) {
			break
		}
		again := f.path("again")
		defer os.Remove(again)
		program.MustRun(t, f.dir, nil, program.Instar(), "convert", "-O", "raw", "out", again)
		if again, err := os.ReadFile(again); err != nil || !bytes.Equal(again, f.content) {
			t.Errorf("%s: it exits with 0, and the output is wrong (%v)", r.what, err)
		}
	case 1:
		if string(got) != old {
			t.Errorf("%s: it exits with 1 (%q), and the old output is gone", r.what, lines)
		}
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "instar: ") || len(lines[0]) > 500 {
			t.Errorf("%s: it says %q", r.what, lines)
		}
	default:
		t.Errorf("%s: exit code %d: %q", r.what, r.Code, r.Stderr)
	}
	return r.Code == 0
}

// said returns the lines of standard error, without the warning that there is no
// wall.
func said(stderr string) []string {
	var lines []string
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "warning: --sandbox=none") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// left returns what is in a folder and was not there before.
func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if _, known := images[e.Name()]; !known && e.Name() != "out" {
			names = append(names, e.Name())
		}
	}
	return names
}

// walls are those that can be had here, and none: there every failure shows as
// it is.
func walls() []string { return append([]string{"none"}, program.Walls()...) }

func strace(t *testing.T) string { return testutil.Require(t, "strace", "strace") }
