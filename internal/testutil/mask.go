package testutil

import (
	"encoding/binary"
	"io"
	"os"
	"testing"
)

// Mask clears in an image file what no two images have in common: ids, times,
// the checksums of these, and what other programs leave in parts that are not in
// use.
func Mask(t testing.TB, format, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range varying(f, format, size) {
		if _, err := f.WriteAt(make([]byte, part[1]), part[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// varying returns offsets and lengths.
func varying(f io.ReaderAt, format string, size int64) (parts [][2]int64) {
	switch format {
	case "vpc":
		const footer = 512
		ats := []int64{size - footer}
		if string(read(f, 0, 8)) == "conectix" {
			ats = append(ats, 0) // its copy
		}
		for _, at := range ats {
			parts = append(parts, [2]int64{at + 24, 4}, [2]int64{at + 64, 20})
		}
	case "vhdx":
		const header, regions = 64 << 10, 192 << 10
		for k := range int64(2) {
			parts = append(parts, [2]int64{(k+1)*header + 4, 60}) // checksum, sequence number, GUIDs
		}
		le := binary.LittleEndian
		log := le.Uint32(read(f, header+68, 4))
		metadata := int64(le.Uint64(read(f, regions+64, 8)))
		parts = append(parts,
			[2]int64{8, 512},                     // creator
			[2]int64{1 << 20, int64(log)},        // QEMU leaves something there
			[2]int64{metadata + 64<<10 + 16, 16}) // disk ID
	}
	return parts
}

func read(f io.ReaderAt, off int64, n int) []byte {
	p := make([]byte, n)
	_, _ = f.ReadAt(p, off) // what is missing stays zero, and differs
	return p
}
