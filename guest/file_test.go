package guest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
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
