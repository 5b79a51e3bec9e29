package convert

import (
	"bytes"
	"testing"

	"instar/disk"
)

// Files that are no pointers, and cannot be compared, are asked each time.
type unequal struct{ content []byte }

func (s unequal) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.content).ReadAt(p, off)
}
func (s unequal) Size() (int64, error) { return int64(len(s.content)), nil }

func TestWhatIsStoredBehindTheEndIsZeros(t *testing.T) {
	content := make([]byte, 1000)
	for _, f := range []disk.File{unequal{content}, disk.NewFile(bytes.NewReader(content), 1000)} {
		var end fileEnd
		for _, test := range []struct {
			offset, length int64
			kind           disk.Kind
			want           int64
		}{
			{0, 1000, disk.Data, 1000},
			{0, 999, disk.Data, 999},
			{600, 512, disk.Data, 512},
			{0, 2048, disk.Data, 1024},
			{999, 1 << 62, disk.Data, 512},
			{1000, 512, disk.Zero, 512},
			{1 << 62, 1 << 62, disk.Zero, 1 << 62},
		} {
			got := end.clip(disk.Extent{Start: 7, Length: test.length, Kind: disk.Data, File: f, Offset: test.offset})
			if got.Start != 7 || got.Kind != test.kind || got.Length != test.want {
				t.Errorf("%d bytes at %d of %T: %v", test.length, test.offset, f, got)
			}
		}
		if e := (disk.Extent{Length: 5, Kind: disk.Encoded}); end.clip(e) != e {
			t.Error("an encoded run was changed")
		}
	}
}
