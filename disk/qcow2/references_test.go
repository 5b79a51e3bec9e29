package qcow2_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
)

// dataFile makes the image keep its clusters in a file of that name.
func (b *builder) dataFile(name string) {
	b.put64(atIncompatible, 4)
	b.extension(extDataFile, uint32(len(name)), []byte(name))
}

func TestBackingFile(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	b.extension(extBackingFormat, 5, []byte("qcow2"))
	b.put64(atBackingOffset, 200)
	b.put32(atBackingSize, 11)
	copy(b.at(200, 11), "base.qcow2\n")
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &disk.Reference{Kind: disk.BackingFile, Names: []string{"base.qcow2\n"}, Format: "qcow2"}
	if diff := cmp.Diff(want, img.Info().Backing()); diff != "" {
		t.Errorf("reference (-want +got):\n%s", diff)
	}
}

func TestDataFile(t *testing.T) {
	const clusters = 16
	b := builder{size: clusters << 16}.build()
	b.dataFile("content.raw")
	content := sample(clusters << 16)
	want := make([]byte, len(content))
	for k := range int64(clusters) {
		switch k {
		case 3, 4: // not allocated
		case 5:
			b.set(k, flagZero)
		case 6: // allocated and zero
			b.set(k, flagCopied|uint64(k)<<16|flagZero)
		default:
			b.set(k, flagCopied|uint64(k)<<16)
			copy(want[k<<16:][:1<<16], content[k<<16:])
		}
	}
	disktest.Run(t, disktest.Config{
		Format: qcow2.Format, Image: b.image, Want: want,
		Options: disk.OpenOptions{Files: []disk.File{disktest.File(content)}},
	})
}

func TestDataFileThatNobodyOpened(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	b.dataFile("content.raw")
	b.set(1, flagCopied|1<<16)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	reference := disk.Reference{Kind: disk.DataFile, Names: []string{"content.raw"}, Format: "raw"}
	if diff := cmp.Diff([]disk.Reference{reference}, img.Info().References); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	if _, err := img.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("reading what is not stored: %v", err)
	}
	_, err = img.ReadAt(make([]byte, 512), 1<<16)
	var missing *disk.MissingReferenceError
	if !errors.As(err, &missing) || missing.Reference.Name() != "content.raw" {
		t.Errorf("reading what is stored: %v; want a MissingReferenceError", err)
	}
}

// TestContentRefused has images that are described, and whose content is refused.
func TestContentRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(b *builder)
		want string
	}{
		{"data file without a name", func(b *builder) { b.put64(atIncompatible, 4) }, "'data-file' is required for this image"},
		{"raw data file without a data file", func(b *builder) { b.put64(atAutoclear, 2) }, "data-file-raw requires a data file"},
		{"compressed cluster with a data file", func(b *builder) {
			b.dataFile("content.raw")
			b.set(0, flagCompressed|1<<16)
		}, "Compressed cluster entry found in image with external data file (L2 offset: 0x30000, L2 index: 0x0)"},
		{"cluster elsewhere in the data file", func(b *builder) {
			b.dataFile("content.raw")
			b.set(0, flagCopied|1<<16)
		}, "External data file host cluster offset 0x10000 does not match guest cluster offset: 0x0, L2 index: 0x0)"},
		{"marked corrupt", func(b *builder) { b.put64(atIncompatible, 2) }, "Image is marked corrupt; repair a copy with qemu-img check -r all first"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := builder{size: 1 << 20}.build()
			tc.make(b)
			img, err := b.open(disk.OpenOptions{Files: []disk.File{disktest.File(nil)}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := img.ReadAt(make([]byte, 1), 0); err == nil || err.Error() != tc.want {
				t.Errorf("ReadAt: %v; want %q", err, tc.want)
			}
			if _, err := img.Extent(0, 1); err == nil || err.Error() != tc.want {
				t.Errorf("Extent: %v; want %q", err, tc.want)
			}
		})
	}
}

func TestDetails(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	b.put64(atIncompatible, 1)
	b.put64(atCompatible, 1)
	b.put32(atRefcountOrder, 6)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &disk.Info{
		Format: "qcow2", VirtualSize: 1 << 20, ClusterSize: 1 << 16, Dirty: true,
		Options: map[string]string{
			"cluster_size": "65536", "compat": "1.1", "compression_type": "zlib", "extended_l2": "off", "lazy_refcounts": "on", "refcount_bits": "64",
		},
		Details: []disk.Detail{
			{Key: "compat", Value: "1.1"},
			{Key: "compression-type", Value: "zlib"},
			{Key: "lazy-refcounts", Value: true},
			{Key: "refcount-bits", Value: int64(64)},
			{Key: "corrupt", Value: false},
			{Key: "extended-l2", Value: false},
		},
	}
	if diff := cmp.Diff(want, img.Info()); diff != "" {
		t.Errorf("description (-want +got):\n%s", diff)
	}
}

func TestSizeIsRoundedDown(t *testing.T) {
	for size, want := range map[uint64]int64{0: 0, 511: 0, 512: 512, 1000: 512, 1<<20 - 1: 1<<20 - 512} {
		b := builder{size: size}.build()
		b.data(0, bytes.Repeat([]byte{1}, 1<<16))
		img, err := b.open(disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if img.Size() != want {
			t.Errorf("size %d in the header: %d; QEMU has %d", size, img.Size(), want)
		}
	}
}
