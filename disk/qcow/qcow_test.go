package qcow

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
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

// TestQEMU reads what qemu-img makes. Compressed clusters are in small: qemu-img
// 7.2 fails at writing them.
func TestQEMU(t *testing.T) {
	disktest.Run(t, disktest.Config{Format: Format, Image: convert(t, content()), Want: content()})
}

// small is an image of 4 clusters of 512 bytes: absent, compressed, stored,
// absent.
func small(backing string) []byte {
	p := make([]byte, 4*512, 8*512)
	copy(p, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(p[4:], 1)
	be.PutUint64(p[24:], 2048+100)
	p[32], p[33] = 9, 6
	be.PutUint64(p[40:], 512)   // L1 table
	be.PutUint64(p[512:], 1024) // L2 table
	be.PutUint64(p[1024+2*8:], 1536)
	copy(p[1536:], bytes.Repeat([]byte{3}, 512))
	if backing != "" {
		be.PutUint64(p[8:], 100)
		be.PutUint32(p[16:], uint32(copy(p[100:], backing)))
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	w.Write(bytes.Repeat([]byte("four"), 128))
	w.Close()
	be.PutUint64(p[1024+8:], 1<<63|uint64(b.Len())<<54|2048)
	return append(p, b.Bytes()...)
}

func TestClusters(t *testing.T) {
	want := make([]byte, 2048)
	copy(want[512:], bytes.Repeat([]byte("four"), 128))
	copy(want[1024:], bytes.Repeat([]byte{3}, 512))
	disktest.Run(t, disktest.Config{Format: Format, Image: small(""), Want: want})
}

func TestBackingFile(t *testing.T) {
	i, err := Format.Open(disktest.File(small("below.img")), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b := i.Info().Backing(); b == nil || b.Name() != "below.img" || b.Format != "" {
		t.Errorf("backing %+v", b)
	}
	if i, err := Format.Open(disktest.File(small("")), disk.OpenOptions{}); err != nil || i.Info().Backing() != nil {
		t.Errorf("backing %+v, %v", i.Info().Backing(), err)
	}
}

// TestHeader has the words of qemu-img for each refusal.
func TestHeader(t *testing.T) {
	for _, test := range []struct {
		off  int
		v    uint64
		want string
	}{
		{0, 0, "Image not in qcow format"},
		{4, 2 << 32, "qcow (v1) does not support qcow version 2"},
		{24, 0, "Image size is too small (must be at least 2 bytes)"},
		{24, 1, "Image size is too small (must be at least 2 bytes)"},
		{24, 1 << 63, "Image too large"},
		{24, 1<<63 - 1, "Image too large"},
		{24, 1 << 50, "Image too large"},
		{32, 8<<56 | 9<<48, "Cluster size must be between 512 and 64k"},
		{32, 17<<56 | 9<<48, "Cluster size must be between 512 and 64k"},
		{32, 9<<56 | 5<<48, "L2 table size must be between 512 and 64k"},
		{32, 9<<56 | 14<<48, "L2 table size must be between 512 and 64k"},
		{32, 9<<56 | 9<<48 | 2, "invalid encryption method in qcow header"},
		{40, 1 << 63, "L1 table offset 0x8000000000000000 is too large"},
	} {
		p := small("")
		binary.BigEndian.PutUint64(p[test.off:], test.v)
		if _, err := Format.Open(disktest.File(p), disk.OpenOptions{}); err == nil || err.Error() != test.want {
			t.Errorf("%#x at %d: %v, want %s", test.v, test.off, err, test.want)
		}
	}
	p := small("x")
	binary.BigEndian.PutUint32(p[16:], 1024)
	if _, err := Format.Open(disktest.File(p), disk.OpenOptions{}); err == nil || err.Error() != "Backing file name too long" {
		t.Errorf("backing name of 1024 bytes: %v", err)
	}
}

// TestEncrypted reads an image that qemu-io filled.
func TestEncrypted(t *testing.T) {
	qemuImg, qemuIO := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	dir := t.TempDir()
	name, out := filepath.Join(dir, "image"), filepath.Join(dir, "out")
	const pass = "of more than sixteen bytes"
	secret := "secret,id=s,data=" + pass
	source := "driver=qcow,encrypt.key-secret=s,file.filename=" + name
	testutil.Run(t, qemuImg, "create", "-q", "-f", formatName, "--object", secret, "-o", "encrypt.format=aes,encrypt.key-secret=s", name, "2500000")
	testutil.Run(t, qemuIO, "--object", secret, "--image-opts", "-c", "write -P 1 2M 100k", "-c", "write -P 2 100k 70k", source)
	testutil.Run(t, qemuImg, "convert", "--object", secret, "--image-opts", "-O", "raw", source, out)
	image, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, disktest.Config{Format: Format, Image: image, Want: want, Options: disk.OpenOptions{Passphrase: []byte(pass)}})

	i, err := Format.Open(disktest.File(image), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var refused *disk.PassphraseError
	if _, err := i.Extent(0, 1); !i.Info().Encrypted || !errors.As(i.Info().Refused, &refused) || !errors.As(err, &refused) {
		t.Errorf("without a passphrase: encrypted %v, refused %v, %v", i.Info().Encrypted, i.Info().Refused, err)
	}
	i, err = Format.Open(disktest.File(image[:len(image)-4096]), disk.OpenOptions{Passphrase: []byte(pass)})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.(disk.Checker).Check(); err == nil {
		t.Error("an image that is cut short is taken for sound")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(small(""))
	f.Add(small("below"))
	f.Fuzz(func(t *testing.T, image []byte) { disktest.Survive(t, Format, image, disk.OpenOptions{}) })
}
