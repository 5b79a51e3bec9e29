package differential

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// An existing is an image that convert -n writes into.
type existing struct {
	name, format string
	create       string // options of qemu-img create
	base         string // name of its backing file, in the format; "" is none
	opaque       bool   // QEMU writes whole grains to it, and each once
	unchecked    bool   // qemu-img check does not know the format
	kept         func(t *testing.T, path string) string
}

// between returns what tells bytes of a file, from an offset on or from one before
// its end.
func between(at, n int64) func(*testing.T, string) string {
	return func(t *testing.T, path string) string {
		p, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		start := at
		if at < 0 {
			start += int64(len(p))
		}
		return string(p[start : start+n])
	}
}

// diskDataBase returns the lines of a vmdk image that say on what hardware it is.
func diskDataBase(t *testing.T, path string) string {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var base strings.Builder
	for line := range bytes.Lines(p[:min(len(p), 20<<10)]) {
		if bytes.HasPrefix(line, []byte("ddb.")) {
			base.Write(line)
		}
	}
	return base.String()
}

var existingImages = []existing{
	{name: "vdi", format: "vdi", kept: between(0x188, 32)},
	{name: "static vdi", format: "vdi", create: "-o static=on", kept: between(0x188, 32)},
	{name: "vmdk", format: "vmdk", create: "-o adapter_type=lsilogic,hwversion=9", kept: diskDataBase},
	{name: "vmdk with grains of zeros", format: "vmdk", create: "-o zeroed_grain=on,compat6=on", kept: diskDataBase},
	{name: "stream-optimized vmdk", format: "vmdk", create: "-o subformat=streamOptimized", opaque: true, kept: diskDataBase},
	{name: "flat vmdk", format: "vmdk", create: "-o subformat=monolithicFlat,toolsversion=5", unchecked: true, kept: diskDataBase},
	{name: "split vmdk", format: "vmdk", create: "-o subformat=twoGbMaxExtentSparse", kept: diskDataBase},
	{name: "split flat vmdk", format: "vmdk", create: "-o subformat=twoGbMaxExtentFlat", unchecked: true, kept: diskDataBase},
	{name: "vmdk above another", format: "vmdk", base: "base.vmdk", kept: diskDataBase},
	{name: "qcow", format: "qcow", unchecked: true},
	{name: "qcow above another", format: "qcow", base: "base.qcow", unchecked: true},
	{name: "qed", format: "qed", create: "-o cluster_size=16k,table_size=2"},
	{name: "qed above another", format: "qed", base: "base.qed"},
	{name: "parallels", format: "parallels", create: "-o cluster_size=64k"},
	{name: "vpc", format: "vpc", unchecked: true, kept: between(0, 512)},
	{name: "exact vpc", format: "vpc", create: "-o force_size=on", unchecked: true, kept: between(0, 512)},
	{name: "fixed vpc", format: "vpc", create: "-o subformat=fixed", unchecked: true, kept: between(-512, 512)},
	{name: "vhdx", format: "vhdx", create: "-o block_size=1M,log_size=2M", kept: between(4<<20+64<<10+16, 16)},
	{name: "fixed vhdx", format: "vhdx", create: "-o subformat=fixed", kept: between(3<<20+64<<10, 64)},
	{name: "qcow2", format: "qcow2", create: "-o cluster_size=4k,compat=0.10"},
	{name: "qcow2 above another", format: "qcow2", create: "-o extended_l2=on,refcount_bits=32", base: "base.qcow2"},
}

// convert -n into an image that is there gives it the content that qemu-img
// gives it, and leaves what says which image it is.
func TestConvertIntoImagesAsQemuImgDoes(t *testing.T) {
	for _, e := range existingImages {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			w.into(t, e, "512k", "chain5.qcow2")
			w.into(t, e, "1M", "chain5.qcow2")
			w.into(t, e, "3M", "chain5.qcow2")
			if !e.opaque {
				w.into(t, e, "1M", "odd.raw")
				w.into(t, e, "3M", "sector.raw text.raw")
				w.into(t, e, "3M", "-S 0 text.raw")
			}
		})
	}
}

// into has both programs convert into an image of a size that is there.
func (w two) into(t *testing.T, e existing, size, line string) {
	t.Helper()
	w.make(t, e, size)
	old := w.whatStays(t, e)
	args := append([]string{"convert", "-n", "-O", e.format}, strings.Fields(line)...)
	args = append(args, "image")
	theirs := program.Run(t, w.theirs, nil, w.qemuImg, args...)
	ours := program.Run(t, w.ours, w.env, program.AsQemuImg(), args...)
	at := strings.Join(args, " ") + ", of " + size
	if ours.Code != theirs.Code || ours.Stderr != theirs.Stderr || ours.Stdout != theirs.Stdout {
		t.Errorf("%s\nexit code %d, want %d\n%q\nwant\n%q", at, ours.Code, theirs.Code, ours.Stderr, theirs.Stderr)
		return
	}
	if now := w.whatStays(t, e); now != old {
		t.Errorf("%s\nit has another\n%q\nthan before\n%q", at, now, old)
	}
	program.MustRun(t, w.ours, nil, w.qemuImg, "compare", "-f", e.format, "-F", e.format, "image", filepath.Join(w.theirs, "image"))
	if !e.unchecked {
		program.MustRun(t, w.ours, nil, w.qemuImg, "check", "-q", "-f", e.format, "image")
	}
}

// make makes the image, the same in both folders, with something in it.
func (w two) make(t *testing.T, e existing, size string) {
	t.Helper()
	if e.base != "" {
		program.MustRun(t, w.theirs, nil, w.qemuImg, "convert", "-O", e.format, "text.raw", e.base)
	}
	args := append([]string{"create", "-q", "-f", e.format}, strings.Fields(e.create)...)
	if e.base != "" {
		args = append(args, "-b", e.base, "-F", e.format)
	}
	program.MustRun(t, w.theirs, nil, w.qemuImg, append(args, "image", size)...)
	if !e.opaque {
		qemuIO := testutil.Require(t, "qemu-io", "qemu-utils")
		commands := []string{"-f", e.format, "-c", "write -P 0xbb 256k 64k"}
		if size == "3M" {
			commands = append(commands, "-c", "write -P 0xcc 1500k 700k")
		}
		program.MustRun(t, w.theirs, nil, qemuIO, append(commands, "image")...)
	}
	made, err := filepath.Glob(filepath.Join(w.theirs, "image*"))
	if err != nil {
		t.Fatal(err)
	}
	if e.base != "" {
		made = append(made, filepath.Join(w.theirs, e.base))
	}
	for _, path := range made {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.ours, filepath.Base(path)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// whatStays returns what of ours no conversion changes.
func (w two) whatStays(t *testing.T, e existing) string {
	t.Helper()
	info := program.MustRun(t, w.ours, nil, w.qemuImg, "info", "-f", e.format, "image").Stdout
	var fields []string
	for line := range strings.Lines(info) {
		for _, name := range []string{"virtual size", "cluster_size", "backing file", "create type", "compat", "refcount bits", "extended l2"} {
			if strings.Contains(line, name+":") {
				fields = append(fields, line)
			}
		}
	}
	if e.kept != nil {
		fields = append(fields, e.kept(t, filepath.Join(w.ours, "image")))
	}
	return strings.Join(fields, "")
}

// A LUKS container keeps its keys and is written in place, in a file or on a device;
// an encrypted qcow2 image keeps them as well.
func TestConvertIntoEncryptedImagesAsQemuImgDoes(t *testing.T) {
	secret := []string{"--object", "secret,id=s,data=open sesame", "--object", "secret,id=wrong,data=x"}
	for _, tc := range []struct{ driver, create, key string }{
		{"luks", "key-secret=s,iter-time=10", "key-secret"},
		{"qcow2", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "encrypt.key-secret"},
		{"qcow2", "encrypt.format=aes,encrypt.key-secret=s", "encrypt.key-secret"},
	} {
		t.Run(tc.create, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			made := filepath.Join(w.theirs, "made")
			testutil.Run(t, w.qemuImg, append(append([]string{"create", "-q"}, secret...), "-f", tc.driver, "-o", tc.create, made, "2M")...)
			content, err := os.ReadFile(made)
			if err != nil {
				t.Fatal(err)
			}
			target := "driver=" + tc.driver + ",file.filename=image,"
			for _, line := range []string{
				"text.raw " + target + tc.key + "=s",
				"chain5.qcow2 " + target + tc.key + "=s",
				"odd.raw " + target + tc.key + "=s",
				"text.raw pattern.raw sector.raw " + target + tc.key + "=s",
				"big.qcow2 " + target + tc.key + "=s",
				"text.raw " + target + tc.key + "=none",
				"text.raw " + target + "node-name=n",
			} {
				for _, folder := range []string{w.ours, w.theirs} {
					if err := os.WriteFile(filepath.Join(folder, "image"), content, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				args := append(append([]string{"convert"}, secret...), "-n", "--target-image-opts")
				args = append(args, strings.Fields(line)...)
				w.same(t, args...)
				read := append(append([]string{"convert"}, secret...), "--image-opts", target+tc.key+"=s", "flat")
				for _, folder := range []string{w.ours, w.theirs} {
					program.MustRun(t, folder, nil, w.qemuImg, read...)
				}
				program.Same(t, filepath.Join(w.ours, "flat"), filepath.Join(w.theirs, "flat"))
				if tc.driver == "luks" {
					program.Same(t, filepath.Join(w.ours, "image"), filepath.Join(w.theirs, "image"))
				} else {
					program.MustRun(t, w.ours, nil, w.qemuImg, append(append([]string{"check", "-q"}, secret...), "--image-opts", target+tc.key+"=s")...)
				}
			}
		})
	}
}

// same runs a command line with both programs, which have to end and print alike.
func (w two) same(t *testing.T, args ...string) {
	t.Helper()
	theirs := program.Run(t, w.theirs, nil, w.qemuImg, args...)
	ours := program.Run(t, w.ours, w.env, program.AsQemuImg(), args...)
	if ours.Code != theirs.Code || ours.Stdout != theirs.Stdout || ours.Stderr != theirs.Stderr {
		t.Errorf("qemu-img %q\nexit code %d, want %d\n%q\nwant\n%q\n%q\nwant\n%q",
			args, ours.Code, theirs.Code, ours.Stdout, theirs.Stdout, ours.Stderr, theirs.Stderr)
	}
}

// Every format that is written can be written into on a device, where it is as
// large as the input.
func TestConvertIntoImagesOnDevices(t *testing.T) {
	w := newTwo(t, nil)
	backing := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(backing, bytes.Repeat([]byte{0xff}, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", backing).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device can be had here: %s", bytes.TrimSpace(out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	for _, format := range []string{"vdi", "vmdk", "qed", "parallels", "vhdx", "qcow", "qcow2"} {
		program.MustRun(t, w.ours, nil, w.qemuImg, "create", "-q", "-f", format, "image", "1M")
		content, err := os.ReadFile(filepath.Join(w.ours, "image"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(device, content, 0); err != nil {
			t.Fatal(err)
		}
		program.MustRun(t, w.ours, nil, program.AsQemuImg(), "convert", "-n", "-O", format, "pattern.raw", device)
		program.MustRun(t, w.ours, nil, w.qemuImg, "compare", "-f", format, "-F", "raw", device, "pattern.raw")
	}
}

// With -S 0 what is behind the input stays as it was, and takes no space.
func TestExistingIsAllocatedOnlyWhereTheInputIs(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"qcow2", "qed", "vdi", "vhdx", "vmdk"} {
		theirs, ours := t.TempDir(), t.TempDir()
		for _, dir := range []string{theirs, ours} {
			program.MustRun(t, dir, nil, testutil.QemuImg(t), "create", "-q", "-f", "raw", "in", "1M")
			program.MustRun(t, dir, nil, testutil.QemuImg(t), "create", "-q", "-f", format, "out", "100M")
			program.MustRun(t, dir, nil, "qemu-io", "-f", format, "-c", "write -P 5 80M 64k", "out")
		}
		line := []string{"convert", "-n", "-S", "0", "-O", format, "in", "out"}
		program.MustRun(t, theirs, nil, testutil.QemuImg(t), line...)
		program.MustRun(t, ours, nil, program.AsQemuImg(), line...)
		a, b := filepath.Join(ours, "out"), filepath.Join(theirs, "out")
		program.MustRun(t, ours, nil, testutil.QemuImg(t), "compare", "-f", format, "-F", format, a, b)
		if got, want := length(t, a), length(t, b); got > want+want/8 {
			t.Errorf("%s: %d bytes, qemu-img's has %d", format, got, want)
		}
	}
}
