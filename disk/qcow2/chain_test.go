package qcow2_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"instar/disk"
	"instar/disk/all"
	"instar/disk/disktest"
	"instar/internal/testutil"
)

// TestChainsAreQemus flattens chains of overlays, some on images that are
// shorter or longer than they are.
func TestChainsAreQemus(t *testing.T) {
	qemu, qio := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	for _, tc := range []struct {
		name  string
		base  string   // format
		sizes []string // from the base up
		opts  string
	}{
		{"one overlay on raw", "raw", []string{"3M", "3M"}, ""},
		{"one overlay on qcow2", "qcow2", []string{"3M", "3M"}, ""},
		{"short base", "raw", []string{"1000k", "3M"}, ""},
		{"long base", "qcow2", []string{"3M", "1500k"}, ""},
		{"short in the middle", "qcow2", []string{"3M", "1M", "3M"}, ""},
		{"subclusters", "raw", []string{"2M", "3M", "3M"}, "extended_l2=on"},
		{"five", "qcow2", []string{"3M", "2M", "3M", "1M", "4M", "3500k"}, ""},
		{"five of small clusters", "raw", []string{"3M", "2M", "3M", "1M", "4M", "3500k"}, "cluster_size=512"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var layers []disk.Disk
			below, belowFormat := "", tc.base
			for i, size := range tc.sizes {
				path := filepath.Join(dir, fmt.Sprintf("%d.img", i))
				args := []string{"create", "-q", "-f", belowFormat}
				if below != "" {
					args = []string{"create", "-q", "-f", "qcow2", "-b", below, "-F", belowFormat}
					if tc.opts != "" {
						args = append(args, "-o", tc.opts)
					}
					belowFormat = "qcow2"
				}
				testutil.Run(t, qemu, append(args, path, size)...)
				for _, cmd := range []string{
					fmt.Sprintf("write -P %d %dk 70k", 0x10+i, 100*i),
					fmt.Sprintf("write -P %d %dk 3k", 0x20+i, 901+10*i),
					fmt.Sprintf("write -z %dk 80k", 50+90*i),
				} {
					testutil.Run(t, qio, "-f", belowFormat, "-c", cmd, path)
				}
				below = path
			}
			for i := range tc.sizes {
				image, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.img", i)))
				if err != nil {
					t.Fatal(err)
				}
				format, err := all.Registry().Detect(disktest.File(image), "")
				if err != nil {
					t.Fatal(err)
				}
				layer, err := format.Open(disktest.File(image), disk.OpenOptions{})
				if err != nil {
					t.Fatal(err)
				}
				layers = append([]disk.Disk{layer}, layers...)
			}
			out := filepath.Join(dir, "out.raw")
			testutil.Run(t, qemu, "convert", "-O", "raw", below, out)
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			compareChain(t, disk.Chain(layers...), want)
		})
	}
}

func compareChain(t *testing.T, d disk.Disk, want []byte) {
	t.Helper()
	if d.Size() != int64(len(want)) {
		t.Fatalf("size %d; want %d", d.Size(), len(want))
	}
	got := make([]byte, len(want))
	if n, err := d.ReadAt(got, 0); n != len(got) {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	if !bytes.Equal(got, want) {
		t.Error("content differs from qemu-img's")
	}
	for off := int64(0); off < d.Size(); {
		e, err := d.Extent(off, d.Size())
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, e.Length)
		if err := e.Read(p); err != nil || !bytes.Equal(p, want[e.Start:e.End()]) {
			t.Fatalf("%v extent [%d, %d) differs from qemu-img's content, or %v", e.Kind, e.Start, e.End(), err)
		}
		off = e.End()
	}
}
