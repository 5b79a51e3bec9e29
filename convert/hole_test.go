package convert

import (
	"errors"
	"io"
	"testing"

	"instar/disk"
)

const mib = 1 << 20

// A holed file has data in [start, end) alone.
type holed struct {
	start, end int64
	err        error
}

func (h *holed) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (h *holed) Size() (int64, error)              { return 100 * mib, nil }

func (h *holed) DataRun(off int64) (start, end int64, err error) {
	if off >= h.end {
		return 0, 0, io.EOF
	}
	return max(off, h.start), h.end, h.err
}

func TestLongHolesOfFilesAreZeros(t *testing.T) {
	f := &holed{start: 10 * mib, end: 20 * mib}
	for _, tc := range []struct {
		offset, length int64
		kind           disk.Kind
		want           int64 // length
	}{
		{0, 100 * mib, disk.Zero, 10 * mib},
		{1 * mib, 4 * mib, disk.Zero, 4 * mib},
		{9 * mib, 4 * mib, disk.Data, 1 * mib}, // the hole is too short
		{10 * mib, 4 * mib, disk.Data, 4 * mib},
		{15 * mib, 50 * mib, disk.Data, 5 * mib},
		{0, 2*mib - 1, disk.Data, 2*mib - 1}, // too short to be looked at
		{20 * mib, 50 * mib, disk.Zero, 50 * mib},
		{90 * mib, 5 * mib, disk.Zero, 5 * mib},
	} {
		e, err := skipHole(disk.Extent{Start: 7, Length: tc.length, Kind: disk.Data, File: f, Offset: tc.offset}, 2*mib)
		if err != nil || e.Start != 7 || e.Offset != tc.offset || e.Kind != tc.kind || e.Length != tc.want {
			t.Errorf("%d MiB at %d: %v (%v)", tc.length/mib, tc.offset/mib, e, err)
		}
	}
	broken := &holed{err: errors.New("no"), end: mib}
	if _, err := skipHole(disk.Extent{Length: mib * 4, Kind: disk.Data, File: broken, Offset: 0}, 0); !errors.Is(err, broken.err) {
		t.Errorf("an error is lost: %v", err)
	}
	e := disk.Extent{Length: 4 * mib, Kind: disk.Encoded}
	if got, err := skipHole(e, 0); err != nil || got != e {
		t.Errorf("an encoded run was changed: %v, %v", got, err)
	}
	g := unequal{make([]byte, 3*mib)}
	if e, err := skipHole(disk.Extent{Length: 3 * mib, Kind: disk.Data, File: g}, 0); err != nil || e.Kind != disk.Data || e.Length != 3*mib {
		t.Errorf("a file without holes: %v, %v", e, err)
	}
}
