package qcow2_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"instar/disk"
	"instar/internal/testutil"
)

// untrusted are images with tables that lead nowhere: reading the cluster that
// is at fault is an error, with the words of QEMU, and reading the first
// cluster of the disk is not.
var untrusted = []struct {
	name  string
	image builder
	make  func(b *builder)
	at    int64 // of the fault
	want  string
	qemus string // where QEMU says something else
}{
	{
		name: "L2 table unaligned", image: builder{size: 2 << 29}, at: 1 << 29,
		make: func(b *builder) { b.put64(b.l1+8, 0x50200|flagCopied) },
		want: "L2 table offset 0x50200 unaligned (L1 index: 0x1)",
	},
	{
		name: "cluster unaligned", image: builder{size: 1 << 29}, at: 3 << 16,
		make: func(b *builder) { b.set(3, 0x50200|flagCopied) },
		want: "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x30000, L2 index: 0x3)",
	},
	{
		name: "preallocated zero cluster unaligned", image: builder{size: 1 << 29}, at: 3 << 16,
		make: func(b *builder) { b.set(3, 0x50200|flagCopied|flagZero) },
		want: "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x30000, L2 index: 0x3)",
	},
	{
		name: "cluster unaligned, high index", image: builder{size: 64 << 30, bits: 21}, at: 20 << 30,
		make: func(b *builder) { b.set(20<<30>>21, 0x50200|flagCopied) },
		want: "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x600000, L2 index: 0x2800)",
	},
	{
		name: "zero cluster in version 2", image: builder{size: 1 << 29, version: 2}, at: 3 << 16,
		make: func(b *builder) { b.set(3, flagZero) },
		want: "Zero cluster entry found in pre-v3 image (L2 offset: 0x30000, L2 index: 0x3)",
	},
	{
		name: "subcluster both zero and stored", image: builder{size: 1 << 28, extend: true}, at: 3 << 16,
		make: func(b *builder) { e := b.entry(3); b.put64(e, 0x50000|flagCopied); b.put64(e+8, 1<<32|1) },
		want: "Invalid cluster entry found  (L2 offset: 0x30000, L2 index: 0x3)",
	},
	{
		name: "subcluster stored nowhere", image: builder{size: 1 << 28, extend: true}, at: 3 << 16,
		make: func(b *builder) { b.put64(b.entry(3)+8, 1<<31) },
		want: "Invalid cluster entry found  (L2 offset: 0x30000, L2 index: 0x3)",
	},
	{
		name: "subcluster's cluster unaligned", image: builder{size: 1 << 28, extend: true}, at: 3 << 16,
		make: func(b *builder) { e := b.entry(3); b.put64(e, 0x50200|flagCopied); b.put64(e+8, 1) },
		want: "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x30000, L2 index: 0x3)",
	},
	{
		name: "compressed cluster of garbage", image: builder{size: 1 << 29}, at: 3 << 16,
		make:  func(b *builder) { b.packed(3, bytes.Repeat([]byte{0xff}, 300)) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "compressed cluster beyond the end of the file", image: builder{size: 1 << 29}, at: 3 << 16,
		make:  func(b *builder) { b.set(3, flagCompressed|1<<40) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "compressed cluster cut short", image: builder{size: 1 << 29}, at: 3 << 16,
		make:  func(b *builder) { s := deflated(sample(5 << 15)[3<<15:]); b.packed(3, s[:len(s)/2]) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "compressed cluster of half a cluster", image: builder{size: 1 << 29}, at: 3 << 16,
		make:  func(b *builder) { b.packed(3, deflated(sample(1<<15))) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "zstd cluster of garbage", image: builder{size: 1 << 29, zstd: true}, at: 3 << 16,
		make:  func(b *builder) { b.packed(3, bytes.Repeat([]byte{0xff}, 300)) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "zstd cluster of half a cluster", image: builder{size: 1 << 29, zstd: true}, at: 3 << 16,
		make:  func(b *builder) { b.packed(3, zstded(sample(1<<15))) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "zstd cluster of two clusters", image: builder{size: 1 << 29, zstd: true}, at: 3 << 16,
		make:  func(b *builder) { b.packed(3, zstded(sample(1<<17))) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "zstd cluster of a bomb", image: builder{size: 1 << 29, zstd: true}, at: 3 << 16,
		make:  func(b *builder) { b.packed(3, zstded(make([]byte, 64<<20))) },
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
	{
		name: "zstd cluster with a damaged checksum", image: builder{size: 1 << 29, zstd: true}, at: 3 << 16,
		make: func(b *builder) {
			s := zstded(sample(1 << 16))
			s[len(s)-1]++
			b.packed(3, s)
		},
		want:  "compressed cluster cannot be decompressed",
		qemus: "Input/output error",
	},
}

func TestUntrustedTablesAreErrors(t *testing.T) {
	for _, tc := range untrusted {
		t.Run(tc.name, func(t *testing.T) {
			b := tc.image.build()
			tc.make(b)
			img, err := b.open(disk.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := img.ReadAt(make([]byte, 512), 0); err != nil {
				t.Errorf("reading the first cluster: %v", err)
			}
			_, err = img.ReadAt(make([]byte, 512), tc.at)
			var format *disk.FormatError
			if !errors.As(err, &format) || err.Error() != tc.want {
				t.Errorf("error %q of type %T; want %q", err, err, tc.want)
			}
			e, err := img.Extent(0, img.Size())
			if err != nil || e.End() != tc.at {
				t.Errorf("extent before the fault: %v, %v; want it to end at %d", e, err, tc.at)
			}
		})
	}
}

func TestUntrustedTablesAreQemus(t *testing.T) {
	qio := testutil.Require(t, "qemu-io", "qemu-utils")
	for _, tc := range untrusted {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := tc.image.build()
			tc.make(b)
			want := tc.want
			if tc.qemus != "" {
				want = tc.qemus
			}
			path := filepath.Join(t.TempDir(), "i.qcow2")
			if err := os.WriteFile(path, b.image, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, read := range []string{"read 0 512", fmt.Sprintf("read %d 512", tc.at)} {
				out, err := exec.Command(qio, "-r", "-c", read, path).CombinedOutput()
				if fails := read != "read 0 512"; fails != (err != nil) || fails && !strings.Contains(string(out), want) {
					t.Errorf("qemu-io %q: %v: %s; want %q", read, err, out, want)
				}
			}
		})
	}
}
