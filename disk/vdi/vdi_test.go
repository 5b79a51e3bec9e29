package vdi

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/internal/testutil"
)

// content is 3 MiB and a bit, of which some parts are zeros.
func content() []byte {
	p := make([]byte, 3<<20+5*512)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(rnd.Uint32() >> 30)
	}
	clear(p[1<<20 : 2<<20])
	return p
}

// convert has qemu-img make an image of content.
func convert(t testing.TB, content []byte, args ...string) []byte {
	t.Helper()
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	plain, image := filepath.Join(dir, "plain"), filepath.Join(dir, "image")
	if err := os.WriteFile(plain, content, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"convert", "-f", "raw", "-O", formatName}, args...)
	testutil.Run(t, qemuImg, append(args, plain, image)...)
	p, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestQEMU(t *testing.T) {
	for name, args := range map[string][]string{
		"dynamic": nil,
		"static":  {"-o", "static=on"},
	} {
		t.Run(name, func(t *testing.T) {
			disktest.Run(t, disktest.Config{Format: Format, Image: convert(t, content(), args...), Want: content()})
		})
	}
}

// small is a header and a table of five blocks, of which two are stored, the
// later first.
func small() []byte {
	p := make([]byte, 2048)
	copy(p, "<<< a disk image >>>\n")
	put := func(off int, v uint32) { binary.LittleEndian.PutUint32(p[off:], v) }
	put(0x40, signature)
	put(0x44, version)
	put(0x48, 0x180)
	put(0x4c, 1)
	put(0x154, 512)
	put(0x158, 1024)
	put(0x168, 512)
	put(0x170, 5<<20-1000)
	put(0x178, blockSize)
	put(0x180, 5)
	for i, entry := range []uint32{unallocated, 1, discarded, 0, unallocated} {
		put(512+i*4, entry)
	}
	return p
}

func TestBlocks(t *testing.T) {
	image := append(small()[:1024], bytes.Repeat([]byte{1}, blockSize)...)
	image = append(image, bytes.Repeat([]byte{2}, 1000)...) // the file ends inside a block
	want := make([]byte, 5<<20-512)
	for i := range 1000 {
		want[1<<20+i] = 2
	}
	copy(want[3<<20:4<<20], bytes.Repeat([]byte{1}, blockSize))
	disktest.Run(t, disktest.Config{Format: Format, Image: image, Want: want})
	i, err := Format.Open(disktest.File(image), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for block, want := range []disk.Kind{disk.Unallocated, disk.Data, disk.Zero, disk.Data, disk.Unallocated} {
		if e, err := i.Extent(int64(block)<<20, 8<<20); err != nil || e.Kind != want || e.Length > blockSize {
			t.Errorf("block %d: %+v, %v", block, e, err)
		}
	}
}

// TestHeader has the words of qemu-img for each refusal.
func TestHeader(t *testing.T) {
	for want, patch := range map[string]func(p []byte){
		"Image not in VDI format (bad signature 00000000)":                                          func(p []byte) { clear(p[0x40:0x44]) },
		"unsupported VDI image (version 2.1)":                                                       func(p []byte) { p[0x46] = 2 },
		"unsupported VDI image (unaligned block map offset 0x201)":                                  func(p []byte) { p[0x154] = 1 },
		"unsupported VDI image (unaligned data offset 0x401)":                                       func(p []byte) { p[0x158] = 1 },
		"unsupported VDI image (sector size 4096 is not 512)":                                       func(p []byte) { p[0x169] = 16 },
		"unsupported VDI image (block size 0 is not 1048576)":                                       func(p []byte) { p[0x17a] = 0 },
		"unsupported VDI image (disk size 5242368, image bitmap has room for 1048576)":              func(p []byte) { p[0x180] = 1 },
		"unsupported VDI image (too many blocks 536870917, max is 536870784)":                       func(p []byte) { p[0x183] = 0x20 },
		"unsupported VDI image (non-NULL link UUID)":                                                func(p []byte) { p[0x1b0] = 1 },
		"unsupported VDI image (non-NULL parent UUID)":                                              func(p []byte) { p[0x1c7] = 1 },
		"Unsupported VDI image size (size is 0x40000000004ffc18, max supported is 0x1fffff8000000)": func(p []byte) { p[0x177] = 0x40 },
		"unsupported VDI image (disk size 562949819203584, image bitmap has room for 5242880)":      func(p []byte) { binary.LittleEndian.PutUint64(p[0x170:], maxSize) },
	} {
		p := small()
		patch(p)
		if _, err := Format.Open(disktest.File(p), disk.OpenOptions{}); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(small())
	f.Fuzz(func(t *testing.T, image []byte) { disktest.Survive(t, Format, image, disk.OpenOptions{}) })
}
