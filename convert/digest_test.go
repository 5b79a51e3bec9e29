package convert_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"instar/convert"
	"instar/disk"
	"instar/disk/all"
	"instar/disk/disktest"
	"instar/disk/qcow2"
)

// digested are formats that are written in one file, with some of their options:
// what they round sizes to, and how they store content.
var digested = map[string][]string{
	"raw":       {"", "preallocation=full"},
	"qcow2":     {"", "cluster_size=512", "extended_l2=on", "preallocation=metadata", "compression_type=zstd", "encrypt.format=luks,encrypt.iter-time=1"},
	"vmdk":      {"", "subformat=streamOptimized", "zeroed_grain=on"},
	"vpc":       {"", "force_size=on", "subformat=fixed"},
	"vhdx":      {"block_size=1M", "subformat=fixed,block_size=1M"},
	"luks":      {"iter-time=1"},
	"vdi":       {"", "static=on"},
	"qcow":      {""},
	"qed":       {"", "cluster_size=4k"},
	"parallels": {"", "cluster_size=512"},
}

// TestHashIsThatOfTheOutput: what is hashed on the way is what a reader of the
// output finds, its size included, and the output is the same as without.
func TestHashIsThatOfTheOutput(t *testing.T) {
	for format, sets := range digested {
		for _, set := range sets {
			for _, shape := range slices.Sorted(maps.Keys(shapes)) {
				if cannotBe(format, set, shape) {
					continue
				}
				for _, how := range []string{"sparse", "dense", "compressed", "as stored"} {
					if how == "compressed" && (format != "qcow2" && format != "qcow" || strings.Contains(set, "encrypt") || strings.Contains(set, "prealloc")) {
						continue
					}
					t.Run(strings.Join([]string{format, set, shape, how}, "/"), func(t *testing.T) {
						t.Parallel()
						testHash(t, format, set, how, shapes[shape]())
					})
				}
			}
		}
	}
}

func testHash(t *testing.T, format, set, how string, content []byte) {
	x := convert.Execution{SkipZeros: how != "dense", Offload: how == "as stored"}
	x.Options = disk.WriterOptions{Zeroed: true, Values: optionSet(set), Compress: how == "compressed", Seed: [32]byte{1}}
	if format == "luks" || strings.Contains(set, "encrypt") {
		x.Options.Secret = []byte("open sesame")
	}
	plain := filepath.Join(t.TempDir(), "plain")
	writeTo(t, plain, format, content, x)
	name, h := filepath.Join(t.TempDir(), "image"), sha256.New()
	x.Hash = h
	result := writeTo(t, name, format, content, x)
	a, b := readFile(t, plain), readFile(t, name)
	if !bytes.Equal(a, b) {
		t.Errorf("with a hash it is another image: %v", same(b, a))
	}
	image := openImage(t, format, b, x.Options.Secret)
	if result.Size != image.Size() {
		t.Errorf("of a disk of %d bytes the size is said to be %d", image.Size(), result.Size)
	}
	got := make([]byte, image.Size())
	if n, err := image.ReadAt(got, 0); n < len(got) {
		t.Fatal(err)
	}
	if err := same(got, content); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(got); [32]byte(h.Sum(nil)) != want {
		t.Error("what was hashed is not what is read")
	}
	back := sha256.New()
	if err := convert.Digest(context.Background(), image, result.Size, back, nil); err != nil || !bytes.Equal(back.Sum(nil), h.Sum(nil)) {
		t.Errorf("read back it has another digest (%v)", err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openImage(t testing.TB, format string, p, passphrase []byte) disk.Image {
	t.Helper()
	how, err := all.Registry().Lookup(format)
	if err != nil {
		t.Fatal(err)
	}
	image, err := how.Open(disk.NewFile(bytes.NewReader(p), int64(len(p))), disk.OpenOptions{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// TestHashOfAnOverlay: what an overlay leaves to what is below is hashed as it
// shows there.
func TestHashOfAnOverlay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top, below := disks(t), disks(t)
		target, h := disktest.NewTarget(nil), sha256.New()
		x := convert.Execution{
			Source: convert.Overlay([]disk.Disk{top, below}, below), Overlay: true, Below: below, SkipZeros: true,
			Create: qcow2.Format.Create, Target: oneAtATime{target, make(chan struct{}, 1)}, Hash: h,
			Workers: rapid.IntRange(1, 5).Draw(t, "workers"),
		}
		x.Options = disk.WriterOptions{Zeroed: true, Values: map[string]string{
			"backing_file": "below", "backing_fmt": "raw", "cluster_size": rapid.SampledFrom([]string{"512", "64k", "2M"}).Draw(t, "cluster"),
		}}
		result, err := convert.Execute(context.Background(), x)
		if err != nil {
			t.Fatal(err)
		}
		p := target.Bytes()
		image, err := qcow2.Format.Open(disk.NewFile(bytes.NewReader(p), int64(len(p))), disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, image.Size())
		if n, err := disk.Chain(image, below).ReadAt(content, 0); n < len(content) {
			t.Fatal(err)
		}
		if want := sha256.Sum256(content); [32]byte(h.Sum(nil)) != want || result.Size != image.Size() {
			t.Fatalf("what was hashed is not what is read of %d bytes (%d said)", image.Size(), result.Size)
		}
	})
}

// oneAtATime is a target that is written by several goroutines.
type oneAtATime struct {
	disk.Target
	busy chan struct{}
}

func (o oneAtATime) WriteAt(p []byte, off int64) (int, error) {
	o.busy <- struct{}{}
	defer func() { <-o.busy }()
	return o.Target.WriteAt(p, off)
}

// counting is a hash that keeps count, and finds out who uses it with another.
type counting struct {
	hash.Hash
	n    int64
	used atomic.Int32
	hook func(n int64)
}

func (c *counting) Write(p []byte) (int, error) {
	if c.used.Add(1) > 1 {
		panic("two use the hash at once")
	}
	defer c.used.Add(-1)
	c.n += int64(len(p))
	if c.hook != nil {
		c.hook(c.n)
	}
	return len(p), nil
}

// TestHashOfALargeHole: a hole is hashed in parts, so that a run can be ended,
// and fails soon after a write has failed.
func TestHashOfALargeHole(t *testing.T) {
	const exabyte = 1 << 60
	ctx, cancel := context.WithCancel(context.Background())
	h := &counting{hook: func(n int64) {
		if n > 1<<20 {
			cancel()
		}
	}}
	if err := convert.Digest(ctx, convert.Empty(exabyte), exabyte, h, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended run: %v", err)
	}
	parts := &fake{parts: []part{{disk.Encoded, 1 << 20, 1}}}
	source, err := convert.Concat(parts, convert.Empty(exabyte))
	if err != nil {
		t.Fatal(err)
	}
	x := convert.Execution{Source: source, SkipZeros: true, Create: qcow2.Format.Create, Hash: &counting{}, Target: failing{disktest.NewTarget(nil)}}
	x.Options = disk.WriterOptions{Zeroed: true, Values: map[string]string{"cluster_size": "2M"}}
	size := int64(1 << 50)
	x.OutputSize = &size
	if _, err := convert.Execute(context.Background(), x); !errors.Is(err, errFull) {
		t.Errorf("a failed write: %v", err)
	}
}

// failing is a target to which no content can be written.
type failing struct{ disk.Target }

func (f failing) WriteAt(p []byte, off int64) (int, error) {
	if len(p) >= 1<<20 {
		return 0, errFull
	}
	return f.Target.WriteAt(p, off)
}

// TestReadErrorsKeepTheirTurn: a piece that cannot be read does not let those
// behind it use the writer or the hash before those before it have.
func TestReadErrorsKeepTheirTurn(t *testing.T) {
	for range 20 {
		f := &fake{parts: []part{{disk.Encoded, 32 << 20, 1}}, broken: 9 << 20}
		err := convert.Digest(context.Background(), f, f.Size(), &counting{}, nil)
		var read *convert.ReadError
		if !errors.As(err, &read) || read.Offset != 8<<20 {
			t.Fatalf("got %v", err)
		}
	}
}

// TestDigestPads: what a disk does not have is zeros.
func TestDigestPads(t *testing.T) {
	f := &fake{parts: []part{{disk.Data, 3 << 20, 1}, {disk.Unallocated, 512, 0}, {disk.Encoded, 1024, 2}}}
	for _, size := range []int64{0, 512, 3<<20 + 1024, 9 << 20} {
		want := append(bytes.Clone(f.content()), make([]byte, 9<<20)...)[:size]
		h := sha256.New()
		total := int64(0)
		err := convert.Digest(context.Background(), f, size, h, func(done, all int64) { total = done })
		if err != nil || [32]byte(h.Sum(nil)) != sha256.Sum256(want) || total != size {
			t.Errorf("%d bytes: %v, told of %d", size, err, total)
		}
	}
}
