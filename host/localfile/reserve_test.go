package localfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReserves(t *testing.T) {
	open := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	folder := t.TempDir()
	var system unix.Statfs_t
	if err := unix.Statfs(folder, &system); err != nil {
		t.Fatal(err)
	}
	ext4 := system.Type == unix.EXT4_SUPER_MAGIC
	for _, tc := range []struct {
		name  string
		path  string
		flags int
		want  bool
	}{
		{"a file", filepath.Join(folder, "file"), os.O_WRONLY | os.O_CREATE, ext4},
		{"a folder", folder, os.O_RDONLY, false},
		{"a device", "/dev/null", os.O_WRONLY, false},
		{"a file that is none on a disk", "/proc/self/comm", os.O_WRONLY, false},
	} {
		if got := Reserves(open(tc.path, tc.flags)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	direct, err := Direct(open(filepath.Join(folder, "file"), os.O_WRONLY), unix.O_WRONLY)
	if err != nil {
		t.Logf("no direct I/O in %s", folder)
		return
	}
	defer direct.Close()
	if Reserves(direct) {
		t.Error("for direct I/O")
	}
}
