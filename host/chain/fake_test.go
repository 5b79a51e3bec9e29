package chain

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"instar/job"
)

// A fake stands in for a worker. The images of these tests are inspections,
// written as JSON; any other file is raw.
type fake struct {
	granted []string // the content of what was handed in, by number
	asked   []job.Inspect
}

func (w *fake) Grant(f *os.File, a job.Access, ceiling int64) (int, error) {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY || a != job.Read || ceiling != 0 {
		return 0, errors.New("granted with more than the right to read")
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return 0, err
	}
	w.granted = append(w.granted, string(text))
	return len(w.granted) - 1, nil
}

func (w *fake) Inspect(_ context.Context, j job.Inspect) (*job.Inspection, error) {
	w.asked = append(w.asked, j)
	text := w.granted[j.ID]
	if j.Format != "" && j.Format != "fake" && j.Format != "raw" {
		return nil, &job.Error{Kind: job.ErrFormat, Message: "Unknown driver '" + j.Format + "'"}
	}
	i := &job.Inspection{Format: "raw", VirtualSize: 512}
	if strings.HasPrefix(text, "{") && j.Format != "raw" {
		return i, json.Unmarshal([]byte(text), i)
	}
	if j.Format == "fake" {
		return nil, &job.Error{Kind: job.ErrOpen, Message: "Image is not in fake format"}
	}
	return i, nil
}

// A failer is a *testing.T, *testing.F or *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
}

// A world is a folder with files in it, where the tests live.
type world struct {
	t   failer
	dir string
}

// newWorld makes the folder the working directory.
func newWorld(t *testing.T) world {
	w := world{t, resolved(t, t.TempDir())}
	t.Chdir(w.dir)
	return w
}

func resolved(t failer, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

func (w world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// file makes a file, and the folders on the way.
func (w world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	w.check(os.MkdirAll(filepath.Dir(path), 0o755))
	w.check(os.WriteFile(path, []byte(content), 0o644))
	return path
}

// image makes an image that has the given references.
func (w world) image(name string, refs ...job.Reference) string {
	w.t.Helper()
	text, err := json.Marshal(job.Inspection{Format: "fake", VirtualSize: 1024, References: refs, Identity: "id of " + filepath.Base(name)})
	w.check(err)
	return w.file(name, string(text))
}

func (w world) link(name, target string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	w.check(os.MkdirAll(filepath.Dir(path), 0o755))
	w.check(os.Symlink(target, path))
}

// backing is a reference to a backing file.
func backing(names ...string) job.Reference {
	return job.Reference{Kind: job.BackingFile, Names: names, Format: "fake"}
}

func extent(name string) job.Reference {
	return job.Reference{Kind: job.ExtentFile, Names: []string{name}}
}

func dataFile(name string) job.Reference {
	return job.Reference{Kind: job.DataFile, Names: []string{name}}
}

// discover returns a chain that the test closes.
func discover(t *testing.T, w Inspector, name string, o Options) (*Chain, error) {
	t.Helper()
	c, err := Discover(context.Background(), w, name, o)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// names returns the names of the layers, separated by blanks.
func names(c *Chain) string {
	var list []string
	for _, l := range c.Layers {
		list = append(list, l.Name)
	}
	return strings.Join(list, " ")
}

// openFiles returns how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
