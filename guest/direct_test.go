package guest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is read past the page cache is what is in the file, wherever it begins
// and ends, and so is what is written.
func TestDirectIO(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := make([]byte, 1<<20+700)
	rand.NewChaCha8([32]byte{1}).Read(content)
	plain, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(plain)
	direct, err := unix.Open(name, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this file system has no direct I/O")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(direct)
	w := &target{fd: plain, direct: direct}
	for off := 0; off < len(content); {
		n := min([]int{4096, 1 << 16, 100, 3996, 8192}[off%5], len(content)-off)
		if done, err := w.WriteAt(content[off:off+n], int64(off)); done != n || err != nil {
			t.Fatal(done, err)
		}
		off += n
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("what was written is not what is there: %v", err)
	}
	f := &directFile{file{fd: direct}}
	for _, c := range [][2]int{
		{0, 4096},
		{1, 1},
		{511, 2},
		{4095, 2},
		{4096, 8192},
		{100, 300_000},
		{bounceSize - 1, 2 * bounceSize},
		{len(content) - 5, 5},
		{len(content) - 5, 6},
		{len(content), 1},
		{len(content) + 5000, 10},
		{0, len(content)},
	} {
		p := make([]byte, c[1])
		n, err := f.ReadAt(p, int64(c[0]))
		want := content[min(c[0], len(content)):min(c[0]+c[1], len(content))]
		if !bytes.Equal(p[:n], want) || (err != nil) != (n < c[1]) || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes at %d: %d, %v", c[1], c[0], n, err)
		}
	}
}
