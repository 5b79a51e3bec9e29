package differential

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"instar/internal/testutil"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// folder holds the inputs once images has made them.
var folder string

var makeOnce sync.Once

// images returns the folder of inputs, which is made on first use.
func images(t *testing.T) string {
	t.Helper()
	testutil.QemuImg(t)
	makeOnce.Do(func() { folder = makeImages(t) })
	if folder == "" {
		t.Fatal("the inputs could not be made")
	}
	return folder
}

// rawInputs and qcow2Inputs name the inputs; see makeImages for what they are.
var (
	rawInputs   = []string{"pattern.raw", "text.raw", "odd.raw", "one.raw", "empty.raw", "sector.raw", "runs.raw"}
	qcow2Inputs = []string{
		"pattern.qcow2", "v2.qcow2", "small.qcow2", "big.qcow2", "zlib.qcow2", "zstd.qcow2",
		"zlib512.qcow2", "zstd256k.qcow2", "hole.qcow2", "order.qcow2", "zero.qcow2", "subcluster.qcow2", "subchain.qcow2",
		"odd.qcow2", "nothing.qcow2", "prealloc.qcow2", "refcount1.qcow2",
		"overlay.qcow2", "chain5.qcow2", "shortbase.qcow2", "longbase.qcow2",
	}
)

func makeImages(t *testing.T) string {
	dir, err := os.MkdirTemp("", "instar-inputs-")
	if err != nil {
		t.Fatal(err)
	}
	m := maker{t: t, dir: dir}

	// The image of the dd matrix, and content that compresses.
	pattern := make([]byte, mib)
	copy(pattern, strings.Repeat("\xaa", 64*kib))
	copy(pattern[256*kib:], strings.Repeat("\x55", 64*kib))
	m.write("pattern.raw", pattern)
	m.write("text.raw", text(700001))
	m.write("odd.raw", []byte(strings.Repeat("\x77", 1000)))
	m.write("one.raw", []byte{1})
	m.write("empty.raw", nil)
	m.sparse("runs.raw", 600, 16*kib) // more than are told of at once
	m.write("sector.raw", []byte(strings.Repeat("sector..", 64)))

	m.convert("pattern.raw", "pattern.qcow2")
	m.convert("pattern.raw", "v2.qcow2", "-o", "compat=0.10")
	m.convert("text.raw", "small.qcow2", "-o", "cluster_size=512")
	m.convert("text.raw", "zlib.qcow2", "-c")
	m.convert("text.raw", "zstd.qcow2", "-c", "-o", "compression_type=zstd")
	m.convert("text.raw", "zlib512.qcow2", "-c", "-o", "cluster_size=512")
	m.convert("text.raw", "zstd256k.qcow2", "-c", "-o", "compression_type=zstd,cluster_size=256k")
	m.convert("pattern.raw", "refcount1.qcow2", "-o", "refcount_bits=1")

	m.create("big.qcow2", "5M", "-o", "cluster_size=2M")
	m.io("big.qcow2", "write -P 0x31 4M 700k", "write -P 0x32 1000 5000")
	m.create("hole.qcow2", "4M")
	m.io("hole.qcow2", "write -P 0xcd 64k 64k")
	m.create("order.qcow2", "4M")
	m.io("order.qcow2", "write -P 0x22 64k 64k", "write -P 0x11 0 64k", "write -P 0xff 4128768 64k")
	m.create("zero.qcow2", "1M")
	m.io("zero.qcow2", "write -P 0x41 0 512k", "write -z 128k 64k", "write -zu 256k 64k", "write -P 0x42 300k 1k")
	m.create("subcluster.qcow2", "2M", "-o", "extended_l2=on,cluster_size=64k")
	m.io("subcluster.qcow2", "write -P 0x51 2k 2k", "write -P 0x52 70k 3k", "write -z 72k 2k", "write -P 0x53 1M 100k")
	m.create("odd.qcow2", "1000")
	m.io("odd.qcow2", "write -P 0x61 0 1000")
	m.create("nothing.qcow2", "0")
	m.create("prealloc.qcow2", "1M", "-o", "preallocation=metadata")
	m.io("prealloc.qcow2", "write -P 0x71 100k 100k")

	// Chains: an overlay of one; of five, which ends in a raw image; over a
	// base that is shorter, and over one that is longer.
	m.overlay("overlay.qcow2", "pattern.qcow2", "qcow2", "1M")
	m.io("overlay.qcow2", "write -P 0xbb 260k 4k", "write -z 0 64k")
	below, format := "pattern.raw", "raw"
	for i := 1; i <= 5; i++ {
		name := fmt.Sprintf("chain%d.qcow2", i)
		m.overlay(name, below, format, "1M")
		m.io(name, fmt.Sprintf("write -P %#x %dk 70k", 0x80+i, 100*i))
		below, format = name, "qcow2"
	}
	m.overlay("shortbase.qcow2", "odd.raw", "raw", "1M")
	m.io("shortbase.qcow2", "write -P 0x91 512k 1k")
	m.overlay("longbase.qcow2", "pattern.qcow2", "qcow2", "300k")
	m.overlay("subchain.qcow2", "pattern.raw", "raw", "1M", "-o", "extended_l2=on")
	m.io("subchain.qcow2", "write -P 0x95 262k 2k", "write -z 264k 2k", "write -P 0x96 1k 1k")
	return dir
}

// text returns n bytes that compress about as much as a disk does, with some
// runs of zeros.
func text(n int) []byte {
	random := rand.New(rand.NewSource(1))
	out := make([]byte, 0, n+5000)
	for len(out) < n {
		switch random.Intn(30) {
		case 0:
			out = append(out, make([]byte, random.Intn(5000))...)
		case 1:
			for range 500 {
				out = append(out, byte(random.Intn(256)))
			}
		default:
			out = fmt.Appendf(out, "line %d of the file %d\n", len(out), random.Intn(1000))
		}
	}
	return out[:n]
}

// A maker makes images in a folder by the means of qemu-utils.
type maker struct {
	t   *testing.T
	dir string
}

func (m maker) path(name string) string { return filepath.Join(m.dir, name) }

func (m maker) write(name string, content []byte) {
	if err := os.WriteFile(m.path(name), content, 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// sparse makes a file of n parts of size bytes, of each of which the first 4 KiB are
// stored and the rest is a hole.
func (m maker) sparse(name string, n, size int64) {
	m.write(name, nil)
	f, err := os.OpenFile(m.path(name), os.O_WRONLY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	for k := range n {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(k%255) + 1}, 4*kib), k*size); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := f.Truncate(n * size); err != nil {
		m.t.Fatal(err)
	}
}

func (m maker) convert(from, to string, options ...string) {
	args := append([]string{"convert", "-f", "raw", "-O", "qcow2"}, options...)
	testutil.Run(m.t, "qemu-img", append(args, m.path(from), m.path(to))...)
}

func (m maker) create(name, size string, options ...string) {
	args := append([]string{"create", "-q", "-f", "qcow2"}, options...)
	testutil.Run(m.t, "qemu-img", append(args, m.path(name), size)...)
}

// overlay makes an image over another in the same folder, which it names
// without its folder.
func (m maker) overlay(name, base, format, size string, options ...string) {
	m.create(name, size, append([]string{"-b", base, "-F", format}, options...)...)
}

func (m maker) io(name string, commands ...string) {
	args := []string{"-f", "qcow2"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	testutil.Run(m.t, "qemu-io", append(args, m.path(name))...)
}

func blocks(info fs.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Blocks }
