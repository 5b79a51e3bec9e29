package convert_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"instar/convert"
	"instar/disk"
)

// damaged is a disk of ones with sectors that cannot be read, or of which it
// cannot be told what is stored.
type damaged struct {
	size             int64
	unreadable, lost map[int64]bool // by offset of the sector
}

func (d *damaged) Size() int64 { return d.size }

func (d *damaged) ReadAt(p []byte, off int64) (int, error) {
	for at := off - off%512; at < off+int64(len(p)); at += 512 {
		if d.unreadable[at] || d.lost[at] {
			return 0, errBroken
		}
	}
	return copy(p, bytes.Repeat([]byte{1}, len(p))), nil
}

func (d *damaged) Extent(off, limit int64) (disk.Extent, error) {
	if d.lost[off-off%512] {
		return disk.Extent{}, errBroken
	}
	n := int64(0)
	for n < min(limit, d.size-off) && !d.lost[(off+n)-(off+n)%512] {
		n++
	}
	return disk.Extent{Start: off, Length: n, Kind: disk.Encoded, Layer: d}, nil
}

func TestSalvageTakesWhatCannotBeReadForZeros(t *testing.T) {
	d := &damaged{size: 8192, unreadable: map[int64]bool{1024: true, 7680: true}, lost: map[int64]bool{4096: true}}
	var warned []string
	s := convert.Salvage(d, func(off int64, status bool, err error) {
		if !errors.Is(err, errBroken) {
			t.Error(err)
		}
		warned = append(warned, fmt.Sprint(off, status))
	})
	got := make([]byte, 8192)
	if n, err := disk.ReadExtents(s, got, 0); n != len(got) || err != nil {
		t.Fatal(n, err)
	}
	want := bytes.Repeat([]byte{1}, 8192)
	for _, at := range []int{1024, 4096, 7680} {
		clear(want[at : at+512])
	}
	if !bytes.Equal(got, want) {
		t.Error("what can be read is not what was stored, or the rest not zeros")
	}
	// What cannot be told is not read either.
	if list := []string{"1024 false", "4096 true", "4096 false", "7680 false"}; !slices.Equal(warned, list) {
		t.Errorf("warned of %q, want %q", warned, list)
	}
	if n, err := s.ReadAt(make([]byte, 100), 8150); n != 42 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}
