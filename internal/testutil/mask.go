package testutil

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"regexp"
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
	if format == "vmdk" {
		maskDescriptor(t, f)
		return
	}
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
	case "vdi":
		parts = append(parts, [2]int64{0x188, 32}) // of the image and its last snapshot
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

var (
	contentID = regexp.MustCompile("\nCID=[0-9a-f]+\n") // QEMU leaves leading zeros out
	ownName   = regexp.MustCompile("SPARSE \"[^\"]*\"\n")
)

// maskDescriptor clears the CID of a vmdk image, and the name of its own file
// in an embedded descriptor. A descriptor that is a file ends with a sector.
func maskDescriptor(t testing.TB, f *os.File) {
	t.Helper()
	at, size := int64(0), int64(1<<20)
	embedded := string(read(f, 0, 4)) == "KDMV"
	if embedded {
		at, size = 512, 20*512
	}
	text, err := io.ReadAll(io.NewSectionReader(f, at, size))
	if err != nil {
		t.Fatal(err)
	}
	length := len(text)
	text = contentID.ReplaceAll(text, []byte("\nCID=00000000\n"))
	if embedded {
		text = ownName.ReplaceAll(text, []byte("SPARSE \"\"\n"))
	}
	// A shorter CID leaves the end of the text as it was before.
	text = append(bytes.TrimRight(text, "\x00\n"), '\n')
	text = append(text, make([]byte, length+512)...)[:(length+511)/512*512]
	if _, err := f.WriteAt(text, at); err != nil {
		t.Fatal(err)
	}
}
