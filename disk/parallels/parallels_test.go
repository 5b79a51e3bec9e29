package parallels

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
		"1 MiB clusters":  nil,
		"64 KiB clusters": {"-o", "cluster_size=64k"},
	} {
		t.Run(name, func(t *testing.T) {
			disktest.Run(t, disktest.Config{Format: Format, Image: convert(t, content(), args...), Want: content()})
		})
	}
}

// small is a header and a BAT of three clusters of two sectors, of which one is
// stored, and a disk of four clusters.
func small(magic string, entry uint32) []byte {
	p := make([]byte, 2048, 4096)
	copy(p, magic)
	for off, v := range map[int]uint32{16: version, 28: 2, 32: 3, 36: 8, 64 + 4: entry} {
		binary.LittleEndian.PutUint32(p[off:], v)
	}
	return append(p, bytes.Repeat([]byte{7}, 1024)...)
}

func TestGenerations(t *testing.T) {
	want := make([]byte, 4096)
	copy(want[1024:], bytes.Repeat([]byte{7}, 1024))
	for magic, entry := range map[string]uint32{magicV1: 4, magicV2: 2} {
		disktest.Run(t, disktest.Config{Format: Format, Image: small(magic, entry), Want: want})
	}
	// The first generation has 32 bits for the number of sectors.
	old := small(magicV1, 4)
	old[43] = 1
	disktest.Run(t, disktest.Config{Format: Format, Image: old, Want: want})
}

func TestHeader(t *testing.T) {
	for _, test := range []struct {
		off  int
		v    uint32
		want string
	}{
		{0, 0, "Image not in Parallels format"},
		{16, 3, "Image not in Parallels format"},
		{28, 0, "Invalid image: Zero sectors per track"},
		{28, maxTracks + 1, "Invalid image: Too big cluster"},
		{32, maxEntries + 1, "Catalog too large"},
		{40, 1 << 28, "Image too large"},
		{56, 4096, "parallels format extensions are not supported"},
	} {
		p := small(magicV2, 2)
		binary.LittleEndian.PutUint32(p[test.off:], test.v)
		if _, err := Format.Open(disktest.File(p), disk.OpenOptions{}); err == nil || err.Error() != test.want {
			t.Errorf("%#x at %d: %v, want %s", test.v, test.off, err, test.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(small(magicV1, 4))
	f.Add(small(magicV2, 2))
	f.Fuzz(func(t *testing.T, image []byte) { disktest.Survive(t, Format, image, disk.OpenOptions{}) })
}
