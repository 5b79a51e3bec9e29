package guest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"instar/job"
	"instar/job/wall"
)

// Runs are told alike wherever they are asked for, in whatever order.
func TestDataRuns(t *testing.T) {
	name := filepath.Join(t.TempDir(), "holes")
	w, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const mib = 1 << 20
	for _, off := range []int64{2 * mib, 6 * mib} {
		if _, err := w.WriteAt(make([]byte, mib), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Truncate(8 * mib); err != nil {
		t.Fatal(err)
	}
	f := &file{fd: int(w.Fd())}
	for _, tc := range []struct{ off, start, end int64 }{
		{0, 2 * mib, 3 * mib},
		{mib, 2 * mib, 3 * mib},
		{2 * mib, 2 * mib, 3 * mib},
		{3*mib - 1, 3*mib - 1, 3 * mib},
		{3 * mib, 6 * mib, 7 * mib},
		{5 * mib, 6 * mib, 7 * mib},
		{6*mib + 4096, 6*mib + 4096, 7 * mib},
		{0, 2 * mib, 3 * mib},
		{7 * mib, 0, 0},
		{6 * mib, 6 * mib, 7 * mib},
	} {
		start, end, err := f.DataRun(tc.off)
		switch {
		case tc.end == 0:
			if !errors.Is(err, io.EOF) {
				t.Errorf("at %d: [%d, %d), %v; want none", tc.off, start, end, err)
			}
		case err != nil || start != tc.start || end != tc.end:
			t.Errorf("at %d: [%d, %d), %v; want [%d, %d)", tc.off, start, end, err, tc.start, tc.end)
		}
	}
}

// Space that is allocated ahead shows in nothing but the time that a write takes,
// and one that there is none for is the write's to report.
func TestWriteReserves(t *testing.T) {
	const n = job.ReserveFrom + 1024
	w, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	out := &target{fd: int(w.Fd()), direct: -1, reserves: true}
	data := bytes.Repeat([]byte("reserved"), n/8)
	for _, off := range []int64{0, 1 << 30} {
		if got, err := out.WriteAt(data, off); got != n || err != nil {
			t.Fatal(got, err)
		}
		if st, err := w.Stat(); err != nil || st.Size() != off+n {
			t.Errorf("%d bytes, %v, after %d at %d", st.Size(), err, n, off)
		}
	}
	st, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if taken := st.Sys().(*syscall.Stat_t).Blocks * 512; taken > 3*n {
		t.Errorf("%d bytes take up %d", 2*n, taken)
	}
	got := make([]byte, n)
	for _, off := range []int64{0, 1 << 30} {
		if _, err := w.ReadAt(got, off); err != nil || !bytes.Equal(got, data) {
			t.Errorf("at %d: not what was written, %v", off, err)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	out = &target{fd: int(full.Fd()), direct: -1, reserves: true}
	if _, err := out.WriteAt(data, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full device: %v", err)
	}
}

// A kernel tells of no more than one run at a time, and whoever is told that it does
// takes all of the file for data.
func TestKernelTellsOfOneRun(t *testing.T) {
	r, err := os.Create(filepath.Join(t.TempDir(), "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	f := &file{fd: int(r.Fd()), extended: true}
	if start, end, err := f.DataRun(5); start != 5 || end != 1<<20 || err != nil {
		t.Errorf("[%d, %d), %v", start, end, err)
	}
}

// A kernel does not leave zeros out, and whoever is told that it can goes on by
// itself.
func TestKernelLeavesNoZerosOut(t *testing.T) {
	dir := t.TempDir()
	r, err := os.Create(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := r.WriteAt(make([]byte, 8192), 0); err != nil {
		t.Fatal(err)
	}
	out := &target{fd: int(w.Fd()), direct: -1}
	if n := out.SparseBlock(); n != 0 {
		t.Errorf("blocks of %d bytes that nobody has granted", n)
	}
	for _, holes := range []bool{false, true} {
		n, err := out.CopySparse(&file{fd: int(r.Fd())}, 0, 0, 8192, holes)
		if n != 0 || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("holes %v: %d, %v", holes, n, err)
		}
	}
	out.extended = true
	if n := out.SparseBlock(); n != wall.SparseBlock {
		t.Errorf("blocks of %d bytes", n)
	}
}
