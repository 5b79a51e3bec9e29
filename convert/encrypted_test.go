package convert_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"instar/convert"
	"instar/disk"
	"instar/disk/all"
	"instar/internal/testutil"
)

// encrypted are sets of options of encrypted images.
var encrypted = map[string][]string{
	"luks": {
		"iter-time=1",
		"iter-time=1,cipher-alg=aes-192,hash-alg=sha512",
		"iter-time=1,cipher-mode=cbc,ivgen-alg=essiv",
		"iter-time=1,cipher-mode=cbc,ivgen-alg=plain,hash-alg=ripemd160,cipher-alg=aes-128",
	},
	"qcow2": {
		"encrypt.format=luks,encrypt.iter-time=1",
		"encrypt.format=luks,encrypt.iter-time=1,cluster_size=512,refcount_bits=64",
		"encrypt.format=luks,encrypt.iter-time=1,extended_l2=on,preallocation=metadata",
		"encrypt.format=luks,encrypt.iter-time=1,preallocation=falloc,cluster_size=4k",
		"encrypt.format=luks,encrypt.iter-time=1,compat=0.10,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv",
		"encrypt.format=aes",
	},
}

// TestEncrypted: an encrypted image is read with its passphrase by this program
// and by qemu-img, and its content is not in it.
func TestEncrypted(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	const passphrase = "open sesame"
	for format, sets := range encrypted {
		for _, set := range sets {
			for _, shape := range slices.Sorted(maps.Keys(shapes)) {
				t.Run(strings.Join([]string{format, set, shape}, "/"), func(t *testing.T) {
					t.Parallel()
					content := wholeSectors(shapes[shape]())
					name := write(t, format, content, convert.Execution{
						SkipZeros: shape != "sparse",
						Options:   disk.WriterOptions{Values: optionSet(set), Secret: []byte(passphrase), Seed: [32]byte{1, 2, 3}},
					})
					p, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					if shape == "text" && bytes.Contains(p, []byte("compresses well")) {
						t.Error("the content is not encrypted")
					}
					how, err := all.Registry().Lookup(format)
					if err != nil {
						t.Fatal(err)
					}
					image, err := how.Open(disk.NewFile(bytes.NewReader(p), int64(len(p))), disk.OpenOptions{Passphrase: []byte(passphrase)})
					if err != nil {
						t.Fatal(err)
					}
					got := make([]byte, image.Size())
					if n, err := image.ReadAt(got, 0); n < len(got) {
						t.Fatal(err)
					}
					if err := same(got, content); err != nil || len(got) != len(content) {
						t.Errorf("read back %d bytes: %v", len(got), err)
					}
					readByQemu(t, qemuImg, format, set, name, content)
				})
			}
		}
	}
}

// wholeSectors returns content with zeros up to the end of its last sector.
func wholeSectors(content []byte) []byte {
	return append(content, make([]byte, -len(content)&(disk.SectorSize-1))...)
}

// readByQemu has qemu-img check and read an encrypted image.
func readByQemu(t *testing.T, qemuImg, format, set, name string, content []byte) {
	t.Helper()
	source := fmt.Sprintf("driver=%s,file.filename=%s,", format, strings.ReplaceAll(name, ",", ",,"))
	switch {
	case format == "luks":
		source += "key-secret=s"
	case strings.Contains(set, "luks"):
		source += "encrypt.format=luks,encrypt.key-secret=s"
	default:
		source += "encrypt.format=aes,encrypt.key-secret=s"
	}
	args := []string{"--object", "secret,id=s,data=open sesame", "--image-opts"}
	if format == "qcow2" {
		testutil.Run(t, qemuImg, slices.Concat([]string{"check"}, args, []string{source})...)
	}
	plain := name + ".raw"
	testutil.Run(t, qemuImg, slices.Concat([]string{"convert"}, args, []string{"-O", "raw", source, plain})...)
	got, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("qemu-img reads: %v", same(got, content))
	}
}

// TestEncryptedTwice: the same input, options, passphrase and seed give the same
// image; another seed or passphrase gives another key.
func TestEncryptedTwice(t *testing.T) {
	content := shapes["text"]()
	header := func(seed byte, passphrase string) string {
		name := write(t, "luks", content, convert.Execution{Options: disk.WriterOptions{
			Values: optionSet("iter-time=1"), Secret: []byte(passphrase), Seed: [32]byte{seed},
		}})
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(p[len(p)-len(content):])
	}
	first := header(1, "a")
	if again := header(1, "a"); again != first {
		t.Error("two images of the same differ")
	}
	if header(2, "a") == first || header(1, "b") == first {
		t.Error("two keys are the same")
	}
}

// TestWithoutPassphrase: an encrypted image is not made without one, and not
// with what cannot be had.
func TestWithoutPassphrase(t *testing.T) {
	for _, test := range []struct{ format, set, secret, want string }{
		{"luks", "", "", "Parameter 'key-secret' is required for cipher"},
		{"luks", "cipher-alg=rot13", "x", "Parameter 'cipher-alg' does not accept value 'rot13'"},
		{"luks", "cipher-mode=x,ivgen-hash-alg=x", "x", "Parameter 'cipher-mode' does not accept value 'x'"},
		{"luks", "hash-alg=x,ivgen-alg=x", "x", "Parameter 'ivgen-alg' does not accept value 'x'"},
		{"luks", "foo=1", "x", "Invalid parameter 'foo'"},
		{"qcow2", "encrypt.format=luks", "", "Parameter 'encrypt.key-secret' is required for cipher"},
		{"qcow2", "encrypt.format=aes", "", "Parameter 'encrypt.key-secret' is required for cipher"},
		{"qcow2", "encrypt.format=x", "x", "Parameter 'format' does not accept value 'x'"},
		{"qcow2", "encrypt.cipher-alg=x", "x", "Parameter 'encrypt.format' is missing"},
		{"qcow2", "encryption=on,encrypt.format=luks", "x", "'encrypt.format' and its alias 'encryption' can't be used at the same time"},
	} {
		how, err := all.Registry().Lookup(test.format)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o := disk.WriterOptions{Values: optionSet(test.set)}
		if test.secret != "" {
			o.Secret = []byte(test.secret)
		}
		if _, err := how.Create(file{f}, 512, o); err == nil || err.Error() != test.want {
			t.Errorf("%s %s: %v, want %s", test.format, test.set, err, test.want)
		}
	}
}
