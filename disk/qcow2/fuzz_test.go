package qcow2_test

import (
	"bytes"
	stdflate "compress/flate"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
)

// FuzzOpen takes any bytes for an image.
func FuzzOpen(f *testing.F) {
	f.Fuzz(func(t *testing.T, image []byte) {
		disktest.Survive(t, qcow2.Format, image, disk.OpenOptions{})
		disktest.Survive(t, qcow2.Format, image, disk.OpenOptions{Snapshot: "1"})
	})
}

// FuzzBitmaps reads the bits of whatever bitmaps an image says it has.
func FuzzBitmaps(f *testing.F) {
	f.Fuzz(func(t *testing.T, image []byte) {
		img, err := qcow2.Format.Open(disktest.File(image), disk.OpenOptions{})
		if err != nil {
			return
		}
		list, err := img.(disk.BitmapSource).Bitmaps()
		if err != nil {
			return
		}
		var bits [4096]byte
		for _, b := range list {
			if b.Name == "" || b.Granularity < 512 {
				t.Errorf("%+v went through", b)
			}
			_, _ = b.Bits.ReadAt(bits[:], 100)
		}
	})
}

// FuzzRead takes any bytes for the L1 table and an L2 table, and what they
// point to, of an image whose header is sound.
func FuzzRead(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind uint8, l1, l2, rest []byte) {
		b := builder{size: 64 << 10, bits: 9, version: 2 + int(kind&1), zstd: kind&3 == 3}
		if kind&5 == 5 {
			b.bits, b.extend, b.size = 14, true, 64<<20
		}
		image := b.build()
		copy(image.image[image.l1:], l1)
		table := image.add(make([]byte, 1<<image.bits))
		copy(image.image[table:], l2)
		image.add(rest)
		disktest.Survive(t, qcow2.Format, image.image, disk.OpenOptions{})
	})
}

// FuzzDecompress takes any bytes for a compressed cluster. What the standard
// library inflates, and nothing else, is content.
func FuzzDecompress(f *testing.F) {
	f.Fuzz(func(t *testing.T, zstd bool, stream []byte) {
		const size = 4096
		if len(stream) == 0 || len(stream) > size {
			return
		}
		b := builder{size: size, bits: 12, zstd: zstd}.build()
		b.packed(0, stream)
		img, err := b.open(disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		_, err = img.ReadAt(got, 0)
		if zstd {
			return
		}
		padded := append(bytes.Clone(stream), make([]byte, -len(stream)&511)...) // whole sectors
		want := make([]byte, size)
		_, wantErr := io.ReadFull(stdflate.NewReader(bytes.NewReader(padded)), want)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("error %v; the standard library has %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatal("content differs from what the standard library inflates")
		}
	})
}

var update = flag.Bool("update", false, "write the seeds of the fuzz targets")

// TestSeedsAreCurrent keeps testdata/fuzz as the builder makes it.
func TestSeedsAreCurrent(t *testing.T) {
	for path, want := range seeds() {
		path = filepath.Join("testdata", "fuzz", path)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the test makes; run with -update", path)
		}
	}
}

// seeds returns the seeds of the fuzz targets by their file names.
func seeds() map[string]string {
	all := map[string]string{}
	add := func(name string, values ...any) {
		text := "go test fuzz v1\n"
		for _, v := range values {
			switch v := v.(type) {
			case []byte:
				text += fmt.Sprintf("[]byte(%q)\n", v)
			case uint8:
				text += fmt.Sprintf("byte(%q)\n", rune(v))
			default:
				text += fmt.Sprintf("%T(%v)\n", v, v)
			}
		}
		all[name] = text
	}

	stored := builder{size: 64 << 10, bits: 9}.build()
	stored.data(3, []byte("first"))
	stored.data(2, []byte("second"))
	stored.set(5, flagZero)
	add("FuzzOpen/stored", stored.image)

	old := builder{size: 64 << 10, bits: 9, version: 2}.build()
	old.data(0, []byte("version 2"))
	old.put64(atBackingOffset, 72)
	old.put32(atBackingSize, 8)
	copy(old.at(72, 8), "base.raw")
	add("FuzzOpen/backing", old.image)

	packed := builder{size: 64 << 10, bits: 9}.build()
	packed.packed(1, deflated(make([]byte, 512)))
	packed.packed(0, deflated(bytes.Repeat([]byte("packed. "), 64)))
	add("FuzzOpen/zlib", packed.image)

	zstd := builder{size: 64 << 10, bits: 9, zstd: true}.build()
	zstd.packed(1, zstded(make([]byte, 512)))
	zstd.packed(0, zstded(bytes.Repeat([]byte("packed. "), 64)))
	add("FuzzOpen/zstd", zstd.image)

	snapshots := builder{size: 64 << 10, bits: 9}.build()
	snapshots.data(0, []byte("content"))
	snapshots.snapshots(snapshotEntry{l1: snapshots.l1, entries: 3, id: "1", name: "one", extra: []uint64{1, 64 << 10, 3}})
	add("FuzzOpen/snapshot", snapshots.image)

	bitmap := builder{size: 64 << 10, bits: 9}.build()
	bitmap.bitmaps(24, 1, 0, 32, uint64(bitmap.add(bitmapEntry(3, "bitmap"))))
	add("FuzzOpen/bitmap", bitmap.image)

	apart := builder{size: 64 << 10, bits: 9}.build()
	apart.dataFile("content.raw")
	apart.set(0, flagCopied)
	apart.set(1, flagCopied|512)
	add("FuzzOpen/data_file", apart.image)

	be64 := func(list ...uint64) []byte {
		b := builder{bits: 9}
		for i, v := range list {
			b.put64(int64(i)*8, v)
		}
		return b.image
	}
	add("FuzzRead/stored", uint8(1), be64(0x800|flagCopied, 0x800), be64(0xa00|flagCopied, 0xc00|flagCopied, flagZero, 0, 0xa00|flagZero), []byte("data"))
	add("FuzzRead/compressed", uint8(1), be64(0x800|flagCopied), be64(flagCompressed|0xa00, flagCompressed|1<<61|0xa01), deflated(make([]byte, 512)))
	add("FuzzRead/compressed_zstd", uint8(3), be64(0x800|flagCopied), be64(flagCompressed|0xa00), zstded(make([]byte, 512)))
	add("FuzzRead/subclusters", uint8(5), be64(0x10000|flagCopied), be64(0x14000|flagCopied, 0xff, 0, 1<<32, flagCompressed|0x14000, 0), deflated(make([]byte, 1<<14)))
	add("FuzzRead/misaligned", uint8(0), be64(0x800|flagCopied, 0x801, 0x900), be64(0xa01|flagCopied, 0xc80), []byte("data"))

	text := bytes.Repeat([]byte("text in a cluster. "), 250)[:4096]
	add("FuzzDecompress/zlib", false, deflated(text))
	add("FuzzDecompress/zlib_bomb", false, deflated(make([]byte, 1<<20)))
	add("FuzzDecompress/zstd", true, zstded(text))
	add("FuzzDecompress/zstd_bomb", true, zstded(make([]byte, 1<<20)))
	add("FuzzDecompress/zstd_two_frames", true, append(zstded(text[:1000]), zstded(text[1000:])...))
	return all
}
