package raw_test

import (
	"bytes"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/raw"
)

// TestPart reads parts of a file of 3000 bytes, which is 3072 long.
func TestPart(t *testing.T) {
	file := make([]byte, 3000)
	for i := range file {
		file[i] = byte(i>>8) + 1
	}
	whole := append(bytes.Clone(file), make([]byte, 1024)...)
	for _, tc := range []struct {
		part disk.Part
		size int64 // of the disk
		err  string
	}{
		{disk.Part{}, 3072, ""},
		{disk.Part{Offset: 512}, 2560, ""},
		{disk.Part{Offset: 1000}, 2560, ""},
		{disk.Part{Offset: 1000, Sized: true, Size: 1024}, 1024, ""},
		{disk.Part{Sized: true}, 0, ""},
		{disk.Part{Offset: 3072}, 0, ""},
		{disk.Part{Offset: 3073}, 0, "Offset (3073) cannot be greater than size of the containing file (3072)"},
		{disk.Part{Offset: 512, Sized: true, Size: 1000}, 0, "Specified size is not multiple of 512"},
		{disk.Part{Offset: 512, Sized: true, Size: 3072}, 0, "The sum of offset (512) and size (3072) has to be smaller or equal to the  actual size of the containing file (3072)"},
		{disk.Part{Offset: -1}, 0, "a part of 0 bytes at -1"},
	} {
		i, err := raw.Format.Open(disktest.File(file), disk.OpenOptions{Part: &tc.part})
		if err != nil || tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%+v: %v, want %s", tc.part, err, tc.err)
			}
			continue
		}
		if i.Size() != tc.size {
			t.Errorf("%+v: %d bytes, want %d", tc.part, i.Size(), tc.size)
			continue
		}
		want := whole[tc.part.Offset:][:tc.size]
		got := make([]byte, tc.size)
		if n, err := i.ReadAt(got, 0); n != len(got) || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d bytes are read, %v", tc.part, n, err)
		}
		clear(got)
		for off := int64(0); off < tc.size; {
			e, err := i.Extent(off, 700)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Read(got[off:e.End()]); err != nil {
				t.Fatal(err)
			}
			off = e.End()
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%+v: its extents have other content", tc.part)
		}
	}
}
