package convert_test

import (
	"slices"
	"testing"

	"instar/convert"
	"instar/disk"
)

func TestOverlayIsWhatTheTopmostLayerAdds(t *testing.T) {
	top := &fake{parts: []part{{disk.Unallocated, 4096, 0}, {disk.Data, 4096, 1}, {disk.Zero, 8192, 0}, {disk.Unallocated, 8192, 0}}}
	layer := func(size int64) disk.Disk { return convert.Empty(size) }
	for _, test := range []struct {
		name   string
		layers []disk.Disk
		below  disk.Disk
		want   []part
	}{
		{"alone", []disk.Disk{top}, nil, []part{{disk.Zero, 4096, 0}, {disk.Data, 4096, 0}, {disk.Zero, 8192, 0}, {disk.Zero, 8192, 0}}},
		{"on another", []disk.Disk{top, layer(1 << 20)}, nil, []part{{disk.Unallocated, 4096, 0}, {disk.Data, 4096, 0}, {disk.Zero, 8192, 0}, {disk.Unallocated, 8192, 0}}},
		{"on a short one", []disk.Disk{top, layer(20480)}, nil, []part{{disk.Unallocated, 4096, 0}, {disk.Data, 4096, 0}, {disk.Zero, 8192, 0}, {disk.Unallocated, 4096, 0}, {disk.Zero, 4096, 0}}},
		{"onto a short one", []disk.Disk{top, layer(1 << 20)}, layer(12288), []part{{disk.Unallocated, 4096, 0}, {disk.Data, 4096, 0}, {disk.Zero, 4096, 0}, {disk.Unallocated, 4096, 0}, {disk.Unallocated, 8192, 0}}},
	} {
		o := convert.Overlay(test.layers, test.below)
		var got []part
		for off := int64(0); off < o.Size(); {
			e, err := o.Extent(off, o.Size()-off)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part{e.Kind, e.Length, 0})
			off = e.End()
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
