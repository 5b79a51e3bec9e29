package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// several makes an output of three files, each of which says what it is.
func several(t *testing.T, dir string) *File {
	t.Helper()
	f := mustCreate(t, filepath.Join(dir, "x"), Options{Extra: []string{filepath.Join(dir, "x-1"), filepath.Join(dir, "x-2")}})
	write(t, f, "new x")
	for i, e := range f.Extra() {
		write(t, e, "new "+string(rune('1'+i)))
	}
	return f
}

func TestSeveralFilesAppearTogether(t *testing.T) {
	for _, old := range []bool{false, true} {
		dir := t.TempDir()
		if old {
			put(t, filepath.Join(dir, "x"), "old", 0o600)
			put(t, filepath.Join(dir, "x-2"), "old", 0o640)
		}
		f := several(t, dir)
		if old && contents(t, filepath.Join(dir, "x-2")) != "old" {
			t.Error("an old file is gone too early")
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		if got := list(t, dir); got != "x x-1 x-2" {
			t.Errorf("the folder has %s", got)
		}
		for name, want := range map[string]string{"x": "new x", "x-1": "new 1", "x-2": "new 2"} {
			if got := contents(t, filepath.Join(dir, name)); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if old && mode(t, filepath.Join(dir, "x-2")) != 0o640 {
			t.Error("the mode of the old file is lost")
		}
	}
}

func TestAbortOfSeveralFilesLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "x-1"), "old", 0o644)
	if err := several(t, dir).Abort(); err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir) + " " + contents(t, filepath.Join(dir, "x-1")); got != "x-1 old" {
		t.Errorf("the folder has %s", got)
	}
}

// A file that cannot take its name leaves all others as they were.
func TestCommitOfSeveralFilesFails(t *testing.T) {
	for blocked, want := range map[string]string{"x": "x x-1 old", "x-2": "x-1 x-2 old"} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "x-1"), "old", 0o644)
		f := several(t, dir)
		if err := os.Mkdir(filepath.Join(dir, blocked), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err == nil {
			t.Errorf("%s: nothing is wrong", blocked)
		}
		if got := list(t, dir) + " " + contents(t, filepath.Join(dir, "x-1")); got != want {
			t.Errorf("%s: the folder has %s", blocked, got)
		}
	}
}

func TestSeveralFilesOfOneName(t *testing.T) {
	dir := t.TempDir()
	x := filepath.Join(dir, "x")
	for _, extra := range [][]string{{x}, {x + "-1", dir + "/./x-1"}} {
		_, err := Create(x, Options{Extra: extra})
		if err == nil || !strings.Contains(err.Error(), "other files of that name") {
			t.Errorf("%q: %v", extra, err)
		}
		if got := list(t, dir); got != "" {
			t.Errorf("the folder has %s", got)
		}
	}
}

func TestSeveralFilesOfWhichOneCannotBe(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "x"), "old", 0o644)
	if _, err := Create(filepath.Join(dir, "x"), Options{Extra: []string{filepath.Join(dir, "nowhere", "y")}}); err == nil {
		t.Error("nothing is wrong")
	}
	if got := list(t, dir) + " " + contents(t, filepath.Join(dir, "x")); got != "x old" {
		t.Errorf("the folder has %s", got)
	}
}
