package qcow2_test

import (
	"os"
	"path/filepath"
	"testing"

	"instar/disk/disktest"
	"instar/disk/qcow2"
	"instar/internal/testutil"
)

func TestContentIsQemus(t *testing.T) {
	qemu, qio := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	source := filepath.Join(t.TempDir(), "source.raw")
	if err := os.WriteFile(source, sample(6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		opts string
		args []string
		io   []string
	}{
		{name: "default"},
		{name: "version 2", opts: "compat=0.10", io: []string{"write -P 1 100k 50k"}},
		{name: "512 byte clusters", opts: "cluster_size=512"},
		{name: "2 MiB clusters", opts: "cluster_size=2M"},
		{name: "zlib", args: []string{"-c"}},
		{name: "zlib 512", args: []string{"-c"}, opts: "cluster_size=512"},
		{name: "zlib 2M", args: []string{"-c"}, opts: "cluster_size=2M"},
		{name: "zstd", args: []string{"-c"}, opts: "compression_type=zstd"},
		{name: "zstd 4k", args: []string{"-c"}, opts: "compression_type=zstd,cluster_size=4k"},
		{name: "zstd 2M", args: []string{"-c"}, opts: "compression_type=zstd,cluster_size=2M"},
		{name: "extended", opts: "extended_l2=on", io: []string{"write -z 2k 60k", "write -P 7 1M 4k", "write -P 8 5M 130k", "discard 4M 64k"}},
		{name: "extended zlib", opts: "extended_l2=on,cluster_size=16k", args: []string{"-c"}, io: []string{"write -P 7 1M 4k"}},
		{name: "zeros", io: []string{"write -z 100k 300k", "write -z -u 1M 1M", "discard 3M 200k"}},
		{name: "refcount 1", opts: "refcount_bits=1"},
		{name: "refcount 64", opts: "refcount_bits=64"},
		{name: "out of order", io: []string{"write -P 3 5M 64k", "write -P 4 3M 1M", "write -P 5 2500k 700k"}},
		{name: "preallocated", opts: "preallocation=metadata"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			img, want := filepath.Join(dir, "i.qcow2"), filepath.Join(dir, "want.raw")
			args := append([]string{"convert", "-f", "raw", "-O", "qcow2"}, tc.args...)
			if tc.opts != "" {
				args = append(args, "-o", tc.opts)
			}
			testutil.Run(t, qemu, append(args, source, img)...)
			for _, cmd := range tc.io {
				testutil.Run(t, qio, "-c", cmd, img)
			}
			testutil.Run(t, qemu, "convert", "-O", "raw", img, want)
			wantContent, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			image, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			disktest.Run(t, disktest.Config{Format: qcow2.Format, Image: image, Want: wantContent})
		})
	}
}

// sample returns content with holes, text and noise in it.
func sample(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		switch i >> 15 % 5 {
		case 0, 1: // hole
		case 2:
			p[i] = byte(i >> 9)
		case 3:
			p[i] = "a virtual disk "[i%15]
		default:
			x = x*1664525 + 1013904223
			p[i] = byte(x >> 24)
		}
	}
	return p
}
