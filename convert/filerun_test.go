package convert

import (
	"errors"
	"io"
	"testing"

	"instar/disk"
)

const mib = 1 << 20

// A holed file has data in [start, end) alone, and counts how often it is asked
// where.
type holed struct {
	start, end int64
	err        error
	asked      int
}

func (h *holed) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (h *holed) Size() (int64, error)              { return 100 * mib, nil }

func (h *holed) DataRun(off int64) (start, end int64, err error) {
	h.asked++
	if off >= h.end {
		return 0, 0, io.EOF
	}
	return max(off, h.start), h.end, h.err
}

func TestLongHolesOfFilesAreZeros(t *testing.T) {
	f := &holed{start: 10 * mib, end: 20 * mib}
	r := fileRun{least: 2 * mib}
	for _, tc := range []struct {
		offset, length int64
		kind           disk.Kind
		want           int64 // length
		asked          int
	}{
		{0, 100 * mib, disk.Zero, 10 * mib, 1},
		{1 * mib, 4 * mib, disk.Zero, 4 * mib, 1},
		{9 * mib, 4 * mib, disk.Data, 1 * mib, 1}, // the hole is too short
		{10 * mib, 4 * mib, disk.Data, 4 * mib, 1},
		{15 * mib, 50 * mib, disk.Data, 5 * mib, 1},
		{19 * mib, 2*mib - 1, disk.Data, 2*mib - 1, 1}, // too short to be looked at
		{20 * mib, 50 * mib, disk.Zero, 50 * mib, 2},
		{90 * mib, 5 * mib, disk.Zero, 5 * mib, 2},
		{0, 2 * mib, disk.Zero, 2 * mib, 3},
	} {
		e, err := r.clip(disk.Extent{Start: 7, Length: tc.length, Kind: disk.Data, File: f, Offset: tc.offset})
		if err != nil || e.Start != 7 || e.Offset != tc.offset || e.Kind != tc.kind || e.Length != tc.want || f.asked != tc.asked {
			t.Errorf("%d MiB at %d: %v (%v), asked %d times", tc.length/mib, tc.offset/mib, e, err, f.asked)
		}
	}
	f.err = errors.New("no")
	if _, err := r.clip(disk.Extent{Length: mib * 4, Kind: disk.Data, File: f, Offset: 0}); err != nil {
		t.Errorf("what is known was asked for: %v", err)
	}
	other := &holed{err: f.err, end: mib}
	if _, err := r.clip(disk.Extent{Length: mib * 4, Kind: disk.Data, File: other, Offset: 0}); !errors.Is(err, f.err) {
		t.Errorf("an error is lost: %v", err)
	}
	e := disk.Extent{Length: 4 * mib, Kind: disk.Encoded}
	if got, err := r.clip(e); err != nil || got != e {
		t.Errorf("an encoded run was changed: %v, %v", got, err)
	}
	g := unequal{make([]byte, 3*mib)}
	for range 2 {
		e, err := r.clip(disk.Extent{Length: 3 * mib, Kind: disk.Data, File: g})
		if err != nil || e.Kind != disk.Data || e.Length != 3*mib {
			t.Errorf("a file without holes: %v, %v", e, err)
		}
	}
}
