package differential

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// An input is an image of a format and a subformat.
type input struct {
	name, format, options string
	content               string // a file that it is converted from; "" has qemu-io write it
	opts                  string // NAME with a secret, for --image-opts
}

// inputs are made of everything that qemu-img makes. What qemu-io writes is out
// of order, with holes between.
var inputs = []input{
	{name: "sparse.vmdk", format: "vmdk"},
	{name: "zeroed.vmdk", format: "vmdk", options: "zeroed_grain=on"},
	{name: "over.vmdk", format: "vmdk", options: "backing_file=sparse.vmdk,backing_fmt=vmdk"},
	{name: "stream.vmdk", format: "vmdk", options: "subformat=streamOptimized", content: "text.raw"},
	{name: "stream2.vmdk", format: "vmdk", options: "subformat=streamOptimized", content: "order.qcow2"},
	{name: "flat.vmdk", format: "vmdk", options: "subformat=monolithicFlat"},
	{name: "split.vmdk", format: "vmdk", options: "subformat=twoGbMaxExtentSparse"},
	{name: "splitflat.vmdk", format: "vmdk", options: "subformat=twoGbMaxExtentFlat", content: "pattern.raw"},
	{name: "dynamic.vpc", format: "vpc"},
	{name: "exact.vpc", format: "vpc", options: "force_size=on", content: "pattern.raw"},
	{name: "fixed.vpc", format: "vpc", options: "subformat=fixed"},
	{name: "exactfixed.vpc", format: "vpc", options: "subformat=fixed,force_size=on", content: "text.raw"},
	{name: "dynamic.vhdx", format: "vhdx"},
	{name: "small.vhdx", format: "vhdx", options: "block_size=1M,log_size=2M"},
	{name: "fixed.vhdx", format: "vhdx", options: "subformat=fixed", content: "pattern.raw"},
	{name: "notthere.vhdx", format: "vhdx", options: "block_size=1M,block_state_zero=off", content: "pattern.raw"},
	{name: "dynamic.vdi", format: "vdi"},
	{name: "static.vdi", format: "vdi", options: "static=on", content: "pattern.raw"},
	{name: "plain.qcow", format: "qcow"},
	{name: "over.qcow", format: "qcow", options: "backing_file=pattern.raw,backing_fmt=raw"},
	{name: "plain.qed", format: "qed"},
	{name: "small.qed", format: "qed", options: "cluster_size=4k,table_size=2", content: "text.raw"},
	{name: "over.qed", format: "qed", options: "backing_file=pattern.raw,backing_fmt=raw"},
	{name: "plain.parallels", format: "parallels"},
	{name: "small.parallels", format: "parallels", options: "cluster_size=64k", content: "text.raw"},
	{name: "data.qcow2", format: "qcow2", options: "data_file=data.file"},
	{name: "rawdata.qcow2", format: "qcow2", options: "data_file=rawdata.file,data_file_raw=on"},
	{name: "luks.qcow2", format: "qcow2", options: "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", opts: "driver=qcow2,encrypt.key-secret=s,file.filename="},
	{name: "aes.qcow2", format: "qcow2", options: "encrypt.format=aes,encrypt.key-secret=s", content: "text.raw", opts: "driver=qcow2,encrypt.key-secret=s,file.filename="},
	{name: "xts.luks", format: "luks", options: "key-secret=s,iter-time=10", opts: "driver=luks,key-secret=s,file.filename="},
	{
		name: "cbc.luks", format: "luks", options: "key-secret=s,iter-time=10,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
		content: "text.raw", opts: "driver=luks,key-secret=s,file.filename=",
	},
}

// makeInputs makes them in a folder that has the images of makeImages.
func makeInputs(t *testing.T, folder string) {
	t.Helper()
	for _, in := range inputs {
		secret, name := []string{"-f", in.format}, in.name
		if in.opts != "" {
			secret, name = []string{"--object", secretObject, "--image-opts"}, in.opts+in.name
		}
		args := []string{"-o", in.options}
		if in.options == "" {
			args = nil
		}
		if in.opts != "" {
			args = append(args, "--object", secretObject)
		}
		if in.content != "" {
			testutil.RunIn(t, folder, "qemu-img", slices.Concat([]string{"convert", "-O", in.format}, args, []string{in.content, in.name})...)
			continue
		}
		testutil.RunIn(t, folder, "qemu-img", slices.Concat([]string{"create", "-q", "-f", in.format}, args, []string{in.name, "5000k"})...)
		for _, command := range []string{"write -P 0x31 4M 700k", "write -P 0x32 1000k 100k", "write -P 0x33 2047k 2k", "write -P 0x34 130k 70k", "write -P 0x35 1 600"} {
			testutil.RunIn(t, folder, "qemu-io", slices.Concat(secret, []string{"-c", command, name})...)
		}
	}
	// An image within an encrypted container.
	luks := "driver=luks,key-secret=s,file.filename=inner.luks"
	testutil.RunIn(t, folder, "qemu-img", "create", "-q", "-f", "luks", "--object", secretObject, "-o", "key-secret=s,iter-time=10", "inner.luks", "6M")
	testutil.RunIn(t, folder, "qemu-img", "convert", "-n", "-f", "raw", "--object", secretObject, "--target-image-opts", "order.qcow2", luks)
}

// inputWindows are operands of dd for images of any format: the first for all of
// them, of the others some for each.
var (
	inputWindows = []string{"", "bs=65536 skip=2 count=4", "bs=1000 skip=1"}
	moreWindows  = []string{
		"bs=513 skip=1 count=3", "bs=1M skip=1 count=4",
		"bs=65536 skip=1", "bs=65536 count=8", "bs=1000 skip=1 count=2", "bs=1000 count=3", "bs=1M count=2", "count=99999", "count=0", "skip=99999",
		"skip=30 count=34", "bs=4096 skip=4 count=6", "bs=4096 count=3", "bs=65536 count=5", "skip=31 count=33", "skip=15 count=17",
		"bs=999 skip=65 count=700", "bs=65537 skip=3", "bs=1 skip=65535 count=65600", "bs=131071 skip=1 count=3",
	}
)

var (
	inputFolder string
	inputsOnce  sync.Once
)

// inputImages returns a folder with all of inputs, and those of images, which is
// made on first use.
func inputImages(t *testing.T) string {
	t.Helper()
	from := images(t)
	inputsOnce.Do(func() {
		dir, err := os.MkdirTemp("", "instar-inputs-")
		if err != nil {
			t.Fatal(err)
		}
		linkAll(t, from, dir)
		dmg, err := os.ReadFile("../../disk/dmg/testdata/mixed.dmg")
		if err != nil {
			t.Fatal(err)
		}
		maker{t, dir}.write("mixed.dmg", dmg)
		makeInputs(t, dir)
		inputFolder = dir
	})
	if inputFolder == "" {
		t.Fatal("the inputs could not be made")
	}
	return inputFolder
}

// linkAll has a folder hold the files of another.
func linkAll(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}

// allowDataFiles returns a setting for the environment that has external data
// files followed.
func allowDataFiles(t *testing.T) string {
	t.Helper()
	settings := t.TempDir()
	if err := os.Mkdir(filepath.Join(settings, "instar"), 0o755); err != nil {
		t.Fatal(err)
	}
	maker{t, filepath.Join(settings, "instar")}.write("config.toml", []byte("[security]\nallow-data-file = true\n"))
	return "XDG_CONFIG_HOME=" + settings
}

// commandLine returns what names the image on a command line, and the flags that go
// with it.
func (in input) commandLine() (flags []string, name string) {
	switch {
	case in.opts != "":
		return []string{"--object", secretObject, "--image-opts"}, in.opts + in.name
	case in.format == "vpc" && strings.Contains(in.name, "fixed"):
		return []string{"-f", "vpc"}, in.name
	}
	return nil, in.name
}

// The matrix of dd, and convert, of images of every format and subformat.
func TestEveryInputGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	folder, settings := inputImages(t), allowDataFiles(t)
	all := append(slices.Clone(inputs),
		input{name: "mixed.dmg"}, input{name: "overlay.qcow2"}, input{name: "chain5.qcow2"},
		input{name: "inner.luks", opts: "driver=qcow2,file.driver=luks,file.key-secret=s,file.file.filename="})
	for k, in := range all {
		t.Run(in.name, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, func(to string) { linkAll(t, folder, to) }).behind([]string{"jail", "jail", "jail", "auto"}[k%4])
			w.env = append(w.env, settings)
			flags, name := in.commandLine()
			windows := slices.Clone(inputWindows)
			for n := range 2 {
				windows = append(windows, moreWindows[(2*k+n)%len(moreWindows)])
			}
			for _, window := range windows {
				w.compare(t, slices.Concat([]string{"dd"}, flags, []string{"if=" + name, "of=out"}, strings.Fields(window))...)
			}
			w.format = []string{"qcow2", "vmdk", "vpc", "vhdx"}[k%4]
			w.compare(t, slices.Concat([]string{"dd", "-O", w.format}, flags, []string{"if=" + name, "of=out", "bs=1000", "count=3", "skip=1"})...)
			w.compare(t, slices.Concat([]string{"convert", "-O", w.format}, flags, []string{name, "out"})...)
			w.format = ""
			w.compare(t, slices.Concat([]string{"convert"}, flags, []string{name, "out"})...)
			if in.opts == "" {
				w.compare(t, slices.Concat([]string{"info", "--backing-chain"}, flags, []string{name})...)
				w.compare(t, slices.Concat([]string{"info", "--backing-chain", "--output=json"}, flags, []string{name})...)
			}
			r := program.Run(t, w.ours, w.env, program.Instar(), slices.Concat([]string{"info", "--strict"}, flags, []string{name})...)
			if refers := strings.Contains(r.Stderr, "refers to something outside itself: "); r.Code != 0 && !refers {
				t.Errorf("info --strict: exit code %d: %s", r.Code, r.Stderr)
			}
		})
	}
}

// What qemu-img cannot make: a compressed image of the first version.
func TestCompressedQcowGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		program.MustRun(t, folder, nil, program.Instar(), "convert", "-c", "-O", "qcow", "text.raw", "compressed.qcow")
	})
	for _, window := range append(slices.Clone(inputWindows), moreWindows[:6]...) {
		w.compare(t, append([]string{"dd", "if=compressed.qcow", "of=out"}, strings.Fields(window)...)...)
	}
}
