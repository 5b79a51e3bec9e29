package luks_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	inner "instar/disk/internal/luks"
	"instar/disk/luks"
	"instar/internal/testutil"
)

const passphrase = "open sesame"

// content is a disk's: random, with a run of zeros in it.
func content(size int) []byte {
	p := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	clear(p[size/4 : size/2])
	return p
}

func openFile(t *testing.T, name string, pass []byte) (disk.Image, error) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return luks.Format.Open(disk.NewFile(f, st.Size()), disk.OpenOptions{Passphrase: pass})
}

// check reads an image, which begins with want, whole and by odd windows.
func check(t *testing.T, name string, want []byte) {
	t.Helper()
	i, err := openFile(t, name, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if i.Size() < int64(len(want)) {
		t.Fatalf("size %d, want %d", i.Size(), len(want))
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for k := range 50 {
		start, end := rnd.IntN(len(want)), rnd.IntN(len(want)+1)
		if k == 0 {
			start, end = 0, len(want)
		}
		if start >= end {
			continue
		}
		got := make([]byte, end-start)
		if _, err := i.ReadAt(got, int64(start)); err != nil || !bytes.Equal(got, want[start:end]) {
			t.Fatalf("content at [%d, %d) differs (%v)", start, end, err)
		}
	}
	if _, err := openFile(t, name, []byte("open barley")); !errors.Is(err, inner.ErrWrongPassphrase) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	locked, err := openFile(t, name, nil)
	if err != nil || !locked.Info().Encrypted {
		t.Fatalf("without a passphrase: %v", err)
	}
	if !errors.Is(locked.Info().Refused, inner.ErrNoPassphrase) {
		t.Errorf("without a passphrase its content is refused: %v", locked.Info().Refused)
	}
	if _, err := locked.ReadAt(make([]byte, 512), 0); !errors.Is(err, inner.ErrNoPassphrase) {
		t.Errorf("content without a passphrase: %v", err)
	}
	if _, err := locked.Extent(0, 512); !errors.Is(err, inner.ErrNoPassphrase) {
		t.Errorf("extents without a passphrase: %v", err)
	}
}

// TestQEMU reads containers that qemu-img made.
func TestQEMU(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	for name, options := range map[string]string{
		"xts":            "",
		"essiv":          ",cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha512",
		"plain":          ",cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha1,cipher-alg=aes-128",
		"xts with essiv": ",cipher-mode=xts,ivgen-alg=essiv,ivgen-hash-alg=sha256,cipher-alg=aes-128",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plain, image := filepath.Join(dir, "plain"), filepath.Join(dir, "image")
			want := content(1 << 20)
			if err := os.WriteFile(plain, want, 0o600); err != nil {
				t.Fatal(err)
			}
			testutil.Run(t, qemuImg, "convert", "-O", "luks", "--object", "secret,id=s,data="+passphrase,
				"-o", "key-secret=s,iter-time=10"+options, plain, image)
			check(t, image, want)
		})
	}
}

// TestCryptsetup reads version 2 containers, which cryptsetup can fill without
// a device by encrypting a file in place.
func TestCryptsetup(t *testing.T) {
	cryptsetup := testutil.Require(t, "cryptsetup", "cryptsetup-bin")
	for name, options := range map[string][]string{
		"luks2 argon2id":       {"--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-memory", "1024", "--pbkdf-force-iterations", "4"},
		"luks2 argon2i":        {"--type", "luks2", "--pbkdf", "argon2i", "--pbkdf-memory", "1024", "--pbkdf-force-iterations", "4"},
		"luks2 pbkdf2":         {"--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"},
		"luks2 4k sectors":     {"--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--sector-size", "4096"},
		"luks2 cbc":            {"--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"},
		"luks2 xts with essiv": {"--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--cipher", "aes-xts-essiv:sha256", "--key-size", "512"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			image, key := filepath.Join(dir, "image"), filepath.Join(dir, "key")
			const head = 32 << 20 // twice what the header takes
			want := content(1 << 20)
			if err := os.WriteFile(image, want, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, int64(len(want)+head)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(key, []byte(passphrase), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"reencrypt", "--encrypt", "--reduce-device-size", "32M", "--batch-mode", "--key-file", key}, options...)
			testutil.Run(t, cryptsetup, append(args, image)...)
			check(t, image, want)
		})
	}
}

// TestUnboundKey reads a container with a keyslot whose key encrypts nothing.
func TestUnboundKey(t *testing.T) {
	cryptsetup := testutil.Require(t, "cryptsetup", "cryptsetup-bin")
	dir := t.TempDir()
	image, key, other := filepath.Join(dir, "image"), filepath.Join(dir, "key"), filepath.Join(dir, "other")
	want := content(1 << 20)
	for name, text := range map[string][]byte{image: want, key: []byte(passphrase), other: []byte("nothing")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(image, int64(len(want)+32<<20)); err != nil {
		t.Fatal(err)
	}
	cheap := []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--batch-mode"}
	testutil.Run(t, cryptsetup, append([]string{"reencrypt", "--encrypt", "--reduce-device-size", "32M", "--type", "luks2", "--key-file", key, image}, cheap...)...)
	testutil.Run(t, cryptsetup, append([]string{"luksAddKey", "--unbound", "--key-size", "256", "--key-slot", "7", image, other}, cheap...)...)
	check(t, image, want)
	if _, err := openFile(t, image, []byte("nothing")); !errors.Is(err, inner.ErrWrongPassphrase) {
		t.Errorf("the passphrase of the other key: %v", err)
	}
}

// TestUnsupported: what there is no cipher or hash for is described, and not read.
func TestUnsupported(t *testing.T) {
	target := disktest.NewTarget(nil)
	w, err := luks.Format.Create(target, 512, disk.WriterOptions{Values: map[string]string{"iter-time": "1"}, Secret: []byte(passphrase), Zeroed: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, target, make([]byte, 512))
	for _, tc := range []struct {
		at         int
		text, want string
	}{
		{8, "serpent", `LUKS cipher "serpent-xts-plain64" is not supported`},
		{40, "ctr-plain64", `LUKS cipher "aes-ctr-plain64" is not supported`},
		{72, "whirlpool", `LUKS hash "whirlpool" is not supported`},
	} {
		image := bytes.Clone(target.Bytes())
		copy(image[tc.at:][:32], tc.text+"\x00")
		for _, pass := range [][]byte{nil, []byte(passphrase)} {
			i, err := luks.Format.Open(disktest.File(image), disk.OpenOptions{Passphrase: pass})
			if err != nil {
				t.Errorf("%s: %v", tc.text, err)
				continue
			}
			var unsupported *disk.UnsupportedError
			if info := i.Info(); !info.Encrypted || len(info.Details) == 0 || !errors.As(info.Refused, &unsupported) || info.Refused.Error() != tc.want {
				t.Errorf("%s: %+v, want %s", tc.text, info, tc.want)
			}
			if _, err := i.ReadAt(make([]byte, 1), 0); !errors.As(err, &unsupported) {
				t.Errorf("%s: content: %v", tc.text, err)
			}
		}
	}
}

// TestConformance has the suite of all formats read what is written here.
func TestConformance(t *testing.T) {
	target, want := disktest.NewTarget(nil), content(256<<10)
	w, err := luks.Format.Create(target, int64(len(want)), disk.WriterOptions{
		Values: map[string]string{"cipher-alg": "aes-128", "cipher-mode": "cbc", "iter-time": "1"}, Secret: []byte(passphrase), Zeroed: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, target, want)
	disktest.Run(t, disktest.Config{
		Format: luks.Format, Image: target.Bytes(), Want: want, Options: disk.OpenOptions{Passphrase: []byte(passphrase)},
		Costly: func(image []byte) bool {
			most := uint32(0) // iterations, of the digest and of the keyslot
			for _, at := range []int{164, 212} {
				most = max(most, binary.BigEndian.Uint32(image[at:]))
			}
			return most > 1<<16
		},
	})
}

// FuzzOpen takes any bytes for a container that is described without its
// passphrase. What passphrases do is fuzzed where they are tried.
func FuzzOpen(f *testing.F) {
	o, err := inner.ParseOptions(map[string]string{"cipher-alg": "aes-128", "cipher-mode": "cbc", "iter-time": "1"}, "")
	if err != nil {
		f.Fatal(err)
	}
	head, _, err := o.Create([]byte(passphrase), disk.WriterOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(head[:4096], make([]byte, 1024)...))
	f.Fuzz(func(t *testing.T, image []byte) {
		disktest.Survive(t, luks.Format, seal(image), disk.OpenOptions{})
	})
}

// seal mends the checksum of a version 2 header, if image has one.
func seal(image []byte) []byte {
	if len(image) < 4096 || string(image[:8]) != inner.Magic+"\x00\x02" {
		return image
	}
	size := binary.BigEndian.Uint64(image[8:])
	if size > uint64(len(image)) {
		return image
	}
	p := bytes.Clone(image)
	copy(p[72:], "sha256\x00")
	clear(p[448:512])
	sum := sha256.Sum256(p[:size])
	copy(p[448:], sum[:])
	return p
}

// A zeroed target notes what is zeroed by the file system.
type zeroed struct {
	disktest.Target
	n int64
}

func (z *zeroed) Zero(_, n int64) error {
	z.n += n
	return nil
}

func TestNothingIsStoredInWhatIsOnlyCreated(t *testing.T) {
	const size = 1 << 20
	for _, tc := range []struct {
		blank         bool
		preallocation string
		err           error
		zeroed        int64
	}{
		{true, "off", nil, 0},
		{true, "full", nil, size},
		{false, "off", errors.ErrUnsupported, 0}, // so that encrypted zeros are written
		{false, "full", errors.ErrUnsupported, size},
	} {
		target := &zeroed{}
		w, err := luks.Format.Create(target, size, disk.WriterOptions{
			Secret: []byte(passphrase), Blank: tc.blank,
			Values: map[string]string{"iter-time": "10", "preallocation": tc.preallocation},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Zero(0, size); !errors.Is(err, tc.err) || target.n != tc.zeroed {
			t.Errorf("%+v: %v, %d bytes zeroed", tc, err, target.n)
		}
	}
}
