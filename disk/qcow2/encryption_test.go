package qcow2_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
	"instar/internal/testutil"
)

const passphrase = "correct horse battery"

// encrypted makes an encrypted image with qemu-img and returns its path, the
// image and the content that qemu-img reads from it.
func encrypted(t *testing.T, opts string) (path string, image, want []byte) {
	t.Helper()
	qemu, qio := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	dir := t.TempDir()
	path, out := filepath.Join(dir, "i.qcow2"), filepath.Join(dir, "out.raw")
	secret := "secret,id=s,data=" + passphrase
	for try := 0; ; try++ { // qemu-img measures the time of a hash, and fails when it cannot
		cmd := exec.Command(qemu, "create", "-q", "-f", "qcow2", "--object", secret, "-o", opts+",encrypt.key-secret=s", path, "3M")
		msg, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		if try == 10 || !strings.Contains(string(msg), "CPU usage") {
			t.Fatalf("%v: %v: %s", cmd.Args, err, msg)
		}
	}
	source := "driver=qcow2,encrypt.key-secret=s,file.filename=" + path
	testutil.Run(t, qio, "--object", secret, "--image-opts",
		"-c", "write -P 1 2M 700k", "-c", "write -P 2 100k 70k", "-c", "write -P 3 1M 64k", "-c", "write -z 1200k 200k", source)
	testutil.Run(t, qemu, "convert", "--object", secret, "--image-opts", "-O", "raw", source, out)
	var err error
	if image, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if want, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	return path, image, want
}

func TestAESIsReadAsByQemu(t *testing.T) {
	for name, opts := range map[string]string{
		"version 3": "encrypt.format=aes",
		"version 2": "encrypt.format=aes,compat=0.10,cluster_size=4k",
	} {
		t.Run(name, func(t *testing.T) {
			_, image, want := encrypted(t, opts)
			disktest.Run(t, disktest.Config{
				Format: qcow2.Format, Image: image, Want: want,
				Options: disk.OpenOptions{Passphrase: []byte(passphrase)},
			})
		})
	}
}

func TestLUKSIsReadAsByQemu(t *testing.T) {
	for name, opts := range map[string]string{
		"XTS": "encrypt.format=luks,encrypt.iter-time=10,cluster_size=32k,extended_l2=on",
		"CBC": "encrypt.format=luks,encrypt.iter-time=10,cluster_size=4k,encrypt.cipher-alg=aes-128," +
			"encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, image, want := encrypted(t, opts)
			img, err := qcow2.Format.Open(disktest.File(image), disk.OpenOptions{Passphrase: []byte(passphrase)})
			if err != nil {
				t.Fatal(err)
			}
			compareChain(t, img, want)
			for start := 0; start < len(want); start += 99_999 {
				p := make([]byte, min(777, len(want)-start))
				if _, err := img.ReadAt(p, int64(start)); err != nil || string(p) != string(want[start:start+len(p)]) {
					t.Errorf("content at %d differs, or %v", start, err)
				}
			}
			compareEncryption(t, path, img.Info())
		})
	}
}

// compareEncryption compares the description with qemu-img's.
func compareEncryption(t *testing.T, path string, info *disk.Info) {
	t.Helper()
	var want struct {
		Encrypted bool
		Specific  struct{ Data map[string]any } `json:"format-specific"`
	}
	if err := json.Unmarshal([]byte(testutil.Run(t, testutil.QemuImg(t), "info", "--output=json", path)), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want.Specific.Data), plain(info.Details)); diff != "" || !want.Encrypted || !info.Encrypted {
		t.Errorf("encrypted %v, details (-qemu-img +got):\n%s", info.Encrypted, diff)
	}
}

func TestPassphrases(t *testing.T) {
	_, image, _ := encrypted(t, "encrypt.format=luks,encrypt.iter-time=10")
	img, err := qcow2.Format.Open(disktest.File(image), disk.OpenOptions{})
	if err != nil {
		t.Fatalf("without a passphrase: %v; want a description", err)
	}
	var missing, wrong *disk.PassphraseError
	if !errors.As(img.Info().Refused, &missing) || !img.Info().Encrypted {
		t.Errorf("without a passphrase: Refused = %v, Encrypted = %v", img.Info().Refused, img.Info().Encrypted)
	}
	if _, err := img.ReadAt(make([]byte, 1), 0); !errors.As(err, &missing) {
		t.Errorf("reading without a passphrase: %v", err)
	}
	_, err = qcow2.Format.Open(disktest.File(image), disk.OpenOptions{Passphrase: []byte("wrong")})
	if !errors.As(err, &wrong) || err.Error() != "Invalid password, cannot unlock any keyslot" {
		t.Errorf("with a wrong passphrase: %v", err)
	}
}

func TestEncryptionHeaders(t *testing.T) {
	extension := func(n uint32, offset uint64) func(b *builder) {
		return func(b *builder) {
			b.put32(atCrypt, 2)
			b.extension(extCrypto, n, nil)
			b.put64(atExtensions+8, offset)
		}
	}
	for _, tc := range []struct {
		name string
		make func(b *builder)
		want string
	}{
		{"no header", func(b *builder) { b.put32(atCrypt, 2) }, "Missing CRYPTO header for crypt method 2"},
		{"header of another method", func(b *builder) { extension(16, 1<<16)(b); b.put32(atCrypt, 1) }, "CRYPTO header extension only expected with LUKS encryption method"},
		{"extension of 8", extension(8, 1<<16), "CRYPTO header extension size 8, but expected size 16"},
		{"unaligned", extension(16, 1<<16+1), "Encryption header offset '65537' is not a multiple of cluster size '65536'"},
		{"beyond the end", extension(16, 1<<40), "Volume is not in LUKS format"},
		{"at the end of offsets", extension(16, 1<<63), "Encryption header offset '9223372036854775808' is not a multiple of cluster size '65536'"},
	} {
		b := builder{size: 1 << 20}.build()
		tc.make(b)
		if _, err := b.open(disk.OpenOptions{Passphrase: []byte("x")}); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v; want %q", tc.name, err, tc.want)
		}
	}
}
