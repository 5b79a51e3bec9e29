package qcow2_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
)

// bitmapEntry returns a sound entry of a bitmap directory, for clusters of 512
// bytes and more.
func bitmapEntry(flags uint32, name string) []byte {
	p := make([]byte, 24, 24+len(name)+7)
	binary.BigEndian.PutUint64(p, 1<<16) // bitmap table
	binary.BigEndian.PutUint32(p[8:], 1) // its entries
	binary.BigEndian.PutUint32(p[12:], flags)
	p[16], p[17] = 1, 16 // type, granularity
	binary.BigEndian.PutUint16(p[18:], uint16(len(name)))
	p = append(p, name...)
	return p[:(len(p)+7)&^7]
}

func TestBitmaps(t *testing.T) {
	two := append(bitmapEntry(2, "auto"), bitmapEntry(1, "a longer name")...)
	damaged := func(at int, p ...byte) []byte {
		entry := bitmapEntry(0, "damaged")
		copy(entry[at:], p)
		return entry
	}
	for _, tc := range []struct {
		name      string
		count     uint32
		directory []byte
		want      []any
		err       string
	}{
		{name: "two", count: 2, directory: two, want: []any{
			[]disk.Detail{{Key: "flags", Value: []any{"auto"}}, {Key: "name", Value: "auto"}, {Key: "granularity", Value: int64(65536)}},
			[]disk.Detail{{Key: "flags", Value: []any{"in-use"}}, {Key: "name", Value: "a longer name"}, {Key: "granularity", Value: int64(65536)}},
		}},
		{name: "too few counted", count: 1, directory: two, err: "More bitmaps found than specified in header extension"},
		{name: "too many counted", count: 3, directory: two, err: "Less bitmaps found than specified in header extension"},
		{name: "no table", count: 1, directory: damaged(5, 0), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "table unaligned", count: 1, directory: damaged(7, 8), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "table of no entries", count: 1, directory: damaged(11, 0), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "table of 2^32-1 entries", count: 1, directory: damaged(8, 255, 255, 255, 255), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "unknown flag", count: 1, directory: damaged(15, 4), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "unknown type", count: 1, directory: damaged(16, 2), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "granularity 8", count: 1, directory: damaged(17, 8), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "granularity 64", count: 1, directory: damaged(17, 64), err: "Bitmap 'damaged' doesn't satisfy the constraints"},
		{name: "name beyond the directory", count: 1, directory: damaged(18, 255, 255), err: "Broken bitmap directory"},
		{name: "extra data beyond the directory", count: 1, directory: damaged(20, 255, 255, 255, 255), err: "Broken bitmap directory"},
		{name: "extra data", count: 1, directory: append(damaged(23, 8), make([]byte, 8)...), err: "Bitmap extra data is not supported"},
		{name: "half an entry", count: 1, directory: make([]byte, 16), err: "Broken bitmap directory"},
		{name: "name of 1024", count: 1, directory: bitmapEntry(0, strings.Repeat("n", 1024)), err: "Bitmap '" + strings.Repeat("n", 1023) + "' doesn't satisfy the constraints"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := builder{size: 1 << 20}.build()
			b.bitmaps(24, tc.count, 0, uint64(len(tc.directory)), uint64(b.add(tc.directory)))
			img, err := b.open(disk.OpenOptions{})
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("error %v; want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(disk.Detail{Key: "bitmaps", Value: tc.want}, img.Info().Details[3]); diff != "" {
				t.Errorf("bitmaps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBitmapsThatAreNotTrustedAreNotListed(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	b.bitmaps(24, 7, 7, 7, 7)
	b.put64(atAutoclear, 0)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range img.Info().Details {
		if d.Key == "bitmaps" {
			t.Errorf("%v", d)
		}
	}
}
