package flat

import (
	"io"
	"testing"

	"instar/disk"
)

// holes is a file of 100 bytes with data in [20, 30) and [60, 80).
type holes struct{ disk.File }

func (holes) DataRun(off int64) (int64, int64, error) {
	switch {
	case off < 30:
		return max(off, 20), 30, nil
	case off < 80:
		return max(off, 60), 80, nil
	}
	return 0, 0, io.EOF
}

func TestExtent(t *testing.T) {
	for _, test := range []struct {
		at, limit int64
		kind      disk.Kind
		length    int64
	}{
		{0, 100, disk.Zero, 20},
		{0, 5, disk.Zero, 5},
		{20, 100, disk.Data, 10},
		{25, 3, disk.Data, 3},
		{30, 100, disk.Zero, 30},
		{60, 100, disk.Data, 20},
		{80, 50, disk.Zero, 50},
		{500, 7, disk.Zero, 7},
	} {
		e, err := Extent(holes{}, test.at, 1000, test.limit)
		if err != nil || e.Start != 1000 || e.Kind != test.kind || e.Length != test.length {
			t.Errorf("at %d, limit %d: %+v, %v", test.at, test.limit, e, err)
		}
		if e.Kind == disk.Data && e.Offset != test.at {
			t.Errorf("at %d: data at %d", test.at, e.Offset)
		}
	}
}

func TestExtentPlainFile(t *testing.T) {
	f := disk.NewFile(nil, 50)
	if e, err := Extent(f, 10, 0, 100); err != nil || e.Kind != disk.Data || e.Length != 40 {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := Extent(f, 50, 0, 100); err != nil || e.Kind != disk.Zero || e.Length != 100 {
		t.Errorf("%+v, %v", e, err)
	}
}
