package qcow2

import (
	"testing"

	"instar/disk"
)

func TestBitmapsThatCannotBeStored(t *testing.T) {
	const size = 1 << 40
	good := disk.Bitmap{Name: "b", Granularity: 65536}
	for _, test := range []struct {
		name string
		o    createOptions
		list []disk.Bitmap
		ok   bool
	}{
		{"none, in version 2", createOptions{version: 2}, nil, true},
		{"one", createOptions{version: 3}, []disk.Bitmap{good}, true},
		{"one, in version 2", createOptions{version: 2}, []disk.Bitmap{good}, false},
		{"no name", createOptions{version: 3}, []disk.Bitmap{{Granularity: 65536}}, false},
		{"no granularity", createOptions{version: 3}, []disk.Bitmap{{Name: "b"}}, false},
		{"a granularity that is no power of two", createOptions{version: 3}, []disk.Bitmap{{Name: "b", Granularity: 3 << 16}}, false},
		{"a granularity that is too small", createOptions{version: 3}, []disk.Bitmap{{Name: "b", Granularity: 256}}, false},
		{"too large", createOptions{version: 3}, []disk.Bitmap{{Name: "b", Granularity: 512}, good}, true},
		{"too many", createOptions{version: 3}, make([]disk.Bitmap, maxBitmaps+1), false},
	} {
		limit := int64(size)
		if test.name == "too large" { // 512 MiB of bits are for 2 TiB
			limit, test.ok = 4<<40, false
		}
		if err := test.o.checkBitmaps(test.list, limit); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
