package differential

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// A reader is a program that has nothing to do with QEMU or this one, and reads
// images.
type reader struct {
	name string
	// read writes the content of an image in a folder to out.
	read func(t *testing.T, folder, image, out string)
	// images are those that it understands, of inputs and of images.
	images []string
}

var readers = []reader{
	{"7-Zip VMDK", sevenZip("VMDK"), []string{"sparse.vmdk", "zeroed.vmdk", "footer.vmdk", "flat.vmdk", "split.vmdk", "splitflat.vmdk"}},
	{"7-Zip VHD", sevenZip("VHD"), []string{"dynamic.vpc", "exact.vpc", "fixed.vpc", "exactfixed.vpc"}},
	{"7-Zip VHDX", sevenZip("VHDX"), []string{"dynamic.vhdx", "small.vhdx", "fixed.vhdx", "notthere.vhdx"}},
	{"7-Zip VDI", sevenZip("VDI"), []string{"dynamic.vdi", "static.vdi"}},
	{"7-Zip QCOW", sevenZip("QCOW"), []string{
		"plain.qcow", "pattern.qcow2", "v2.qcow2", "small.qcow2", "big.qcow2", "zlib.qcow2", "zlib512.qcow2",
		"hole.qcow2", "order.qcow2", "zero.qcow2", "odd.qcow2", "prealloc.qcow2", "refcount1.qcow2",
	}},
	{"vmdkmount", mounted("vmdkmount", "libvmdk-utils"), []string{"sparse.vmdk", "stream.vmdk", "stream2.vmdk", "footer.vmdk", "split.vmdk", "splitflat.vmdk"}},
	{"vhdimount", mounted("vhdimount", "libvhdi-utils"), []string{"dynamic.vpc", "exact.vpc", "fixed.vpc", "exactfixed.vpc", "dynamic.vhdx", "small.vhdx", "fixed.vhdx", "notthere.vhdx"}},
	{"qcowmount", mounted("qcowmount", "libqcow-utils"), []string{
		"plain.qcow", "pattern.qcow2", "v2.qcow2", "small.qcow2", "big.qcow2", "zlib.qcow2", "hole.qcow2", "order.qcow2", "odd.qcow2",
	}},
	{"nbdkit luks", nbdkitLUKS, []string{"xts.luks"}},
}

// What another reader finds in images of each format and subformat that it knows is
// what is read here.
func TestSecondReaders(t *testing.T) {
	t.Parallel()
	folder, settings := inputImages(t), allowDataFiles(t)
	stream, err := os.ReadFile(filepath.Join(folder, "stream2.vmdk"))
	if err != nil {
		t.Fatal(err)
	}
	maker{t, folder}.write("footer.vmdk", withFooter(stream)) // 7-Zip reads no others
	for _, r := range readers {
		for _, name := range r.images {
			t.Run(r.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
				in := input{name: name}
				if k := slices.IndexFunc(inputs, func(i input) bool { return i.name == name }); k >= 0 {
					in = inputs[k]
				}
				flags, named := in.commandLine()
				program.MustRun(t, folder, []string{settings, "INSTAR_SANDBOX=jail"}, program.Instar(), slices.Concat([]string{"convert"}, flags, []string{"-O", "raw", named, ours})...)
				r.read(t, folder, name, theirs)
				program.Same(t, ours, theirs)
			})
		}
	}
}

// sevenZip reads images by 7-Zip's handler of a format.
func sevenZip(format string) func(*testing.T, string, string, string) {
	return func(t *testing.T, folder, image, out string) {
		t.Helper()
		name := testutil.Require(t, "7z", "p7zip-full")
		if !strings.Contains(testutil.Run(t, name, "i"), " "+format+" ") {
			t.Skipf("this 7-Zip does not know %s", format)
		}
		file, err := os.Create(out)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd := exec.Command(name, "x", "-so", "-t"+format, image)
		cmd.Dir, cmd.Stdout = folder, file
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
}

// mounted reads images by a tool of libyal that shows their content as a file.
func mounted(tool, pkg string) func(*testing.T, string, string, string) {
	return func(t *testing.T, folder, image, out string) {
		t.Helper()
		name, unmount := testutil.Require(t, tool, pkg), testutil.Require(t, "fusermount", "fuse3")
		if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
			t.Skipf("nothing can be mounted here: %v", err)
		} else {
			f.Close()
		}
		at := t.TempDir()
		testutil.RunIn(t, folder, name, image, at)
		defer testutil.Run(t, unmount, "-u", "-z", at)
		entries, err := os.ReadDir(at)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%s shows %v, %v", tool, entries, err)
		}
		testutil.Run(t, "cp", filepath.Join(at, entries[0].Name()), out)
	}
}

// nbdkitLUKS reads LUKS containers by nbdkit's filter.
func nbdkitLUKS(t *testing.T, folder, image, out string) {
	t.Helper()
	nbdkit, copy := testutil.Require(t, "nbdkit", "nbdkit"), testutil.Require(t, "nbdcopy", "libnbd-bin")
	testutil.RunIn(t, folder, nbdkit, "-U", "-", "--filter=luks", "file", image, "passphrase=abc", "--run", copy+` "$uri" `+out)
}
