package differential

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

var vmdkInputs = []string{"pattern.raw", "odd.raw", "small.qcow2", "hole.qcow2", "order.qcow2", "chain5.qcow2"}

func TestDDWritesVMDKsAsQemuImgDoes(t *testing.T) {
	for _, input := range append(vmdkInputs, "empty.raw") {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			w.format = "vmdk"
			for _, window := range []string{
				"", "bs=65536 skip=2 count=4", "bs=1000 count=3", "bs=1000 skip=1", "bs=65537 skip=3", "bs=4k skip=64 count=80",
				"count=0", "skip=99999",
			} {
				w.compare(t, append([]string{"dd", "-O", "vmdk", "if=" + input, "of=out"}, strings.Fields(window)...)...)
			}
		})
	}
}

// vmdkSets are options of convert for outputs whose bytes are qemu-img's.
var vmdkSets = []string{
	"", "-c", "-S 0", "-S 64k", "-o zeroed_grain=on", "-o adapter_type=lsilogic", "-o adapter_type=buslogic,hwversion=10",
	"-o adapter_type=legacyESX,toolsversion=0", "-o compat6=on",
	"-o subformat=monolithicFlat", "-S 0 -o subformat=monolithicFlat", "-o subformat=twoGbMaxExtentFlat",
	"-o subformat=twoGbMaxExtentSparse", "-S 0 -o subformat=twoGbMaxExtentSparse,zeroed_grain=on",
}

func TestConvertWritesVMDKsAsQemuImgDoes(t *testing.T) {
	for _, input := range vmdkInputs {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			for _, set := range vmdkSets {
				w.compareFiles(t, append(append([]string{"convert", "-O", "vmdk"}, strings.Fields(set)...), input, "out")...)
			}
		})
	}
}

func TestSplitVMDKsAsQemuImg(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.create("large.qcow2", "5G")
		m.io("large.qcow2", "write -P 7 0 1M", "write -P 8 2147450880 64k", "write -P 9 4294966784 4k", "write -P 1 5368708608 512")
	})
	for _, subformat := range []string{"twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "monolithicFlat"} {
		w.compareFiles(t, "convert", "-O", "vmdk", "-o", "subformat="+subformat, "large.qcow2", "out")
	}
}

func TestVMDKsWithParentsAsQemuImg(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.create("top.qcow2", "1M")
		m.io("top.qcow2", "write -P 9 100k 1k", "write -z 512k 64k")
	})
	for _, folder := range []string{w.theirs, w.ours} { // one and the same parent, for its CID
		if folder == w.theirs {
			program.MustRun(t, folder, nil, w.qemuImg, "convert", "-O", "vmdk", "pattern.raw", "parent.vmdk")
		} else if err := os.Link(filepath.Join(w.theirs, "parent.vmdk"), filepath.Join(w.ours, "parent.vmdk")); err != nil {
			t.Fatal(err)
		}
	}
	for _, set := range []string{"", "-o zeroed_grain=on", "-o subformat=twoGbMaxExtentSparse"} {
		args := append([]string{"convert", "-O", "vmdk", "-B", "parent.vmdk", "-F", "vmdk"}, strings.Fields(set)...)
		w.compareFiles(t, append(args, "top.qcow2", "out")...)
	}
	w.compareFiles(t, "create", "-q", "-f", "vmdk", "-b", "parent.vmdk", "-F", "vmdk", "out")
	w.compareFiles(t, "convert", "-O", "vmdk", "-B", "parent.vmdk", "-F", "raw", "top.qcow2", "out")
}

func TestVMDKOptionsAreRefusedAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, options := range []string{
		"subformat=bogus", "subformat=streamoptimized", "adapter_type=IDE", "adapter_type=bogus,compat6=on,hwversion=3",
		"compat6=on,hwversion=3,subformat=bogus", "compat6=on,hwversion=", "subformat=monolithicFlat,zeroed_grain=on",
		"compat6=on,hwversion=3,subformat=monolithicFlat,zeroed_grain=on", "foo=1", "compat6=maybe", "subformat=bogus,foo=1",
	} {
		w.compareFiles(t, "convert", "-O", "vmdk", "-o", options, "pattern.raw", "out")
	}
	w.compareFiles(t, "convert", "-c", "-O", "vmdk", "-o", "subformat=monolithicFlat", "pattern.raw", "out")
}

// compareFiles is compare for outputs of several files. Nothing may be left of
// any where ours fails.
func (w two) compareFiles(t *testing.T, args ...string) {
	t.Helper()
	line := "qemu-img " + strings.Join(args, " ")
	theirs := program.Run(t, w.theirs, nil, w.qemuImg, args...)
	ours := program.Run(t, w.ours, w.env, program.AsQemuImg(), args...)
	if ours.Code != theirs.Code || ours.Stdout != theirs.Stdout || ours.Stderr != theirs.Stderr {
		t.Errorf("%s\nexit code %d, want %d\nstandard error  %q\nwant            %q", line, ours.Code, theirs.Code, ours.Stderr, theirs.Stderr)
	}
	a, b := outputs(t, w.ours), outputs(t, w.theirs)
	defer func() {
		for _, name := range append(a, b...) {
			os.Remove(filepath.Join(w.ours, name))
			os.Remove(filepath.Join(w.theirs, name))
		}
	}()
	switch {
	case ours.Code != 0 && len(a) > 0:
		t.Errorf("%s\nfailed, and left %q", line, a)
	case ours.Code != 0 || theirs.Code != 0:
		return
	case !slices.Equal(a, b):
		t.Errorf("%s\nhas written %q, want %q", line, a, b)
		return
	}
	testutil.Mask(t, "vmdk", filepath.Join(w.ours, "out"))
	testutil.Mask(t, "vmdk", filepath.Join(w.theirs, "out"))
	for _, name := range a {
		if diff, err := program.Difference(filepath.Join(w.ours, name), filepath.Join(w.theirs, name)); err != nil || diff != "" {
			t.Errorf("%s\n%s, ours first: %s %v", line, name, diff, err)
		}
	}
}

// outputs returns the names of what was written, in order.
func outputs(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); name == "out" || strings.HasPrefix(name, "out-") || strings.Contains(name, ".instar-") {
			names = append(names, name)
		}
	}
	return names
}

// Whatever the subformat, both programs read what both have written.
func TestVMDKsAreReadByBoth(t *testing.T) {
	for _, subformat := range []string{"monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"} {
		t.Run(subformat, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			for _, input := range []string{"pattern.raw", "odd.raw", "zlib512.qcow2", "chain5.qcow2"} {
				program.MustRun(t, w.theirs, nil, w.qemuImg, "convert", "-O", "vmdk", "-o", "subformat="+subformat, input, "theirs")
				program.MustRun(t, w.ours, w.env, program.AsQemuImg(), "convert", "-O", "vmdk", "-o", "subformat="+subformat, input, "ours")
				for folder, name := range map[string]string{w.theirs: "theirs", w.ours: "ours"} {
					for _, qemuImg := range []string{w.qemuImg, program.AsQemuImg()} {
						program.MustRun(t, folder, nil, qemuImg, "compare", input, name)
					}
				}
				program.MustRun(t, w.ours, nil, w.qemuImg, "check", "ours")
				if info := testutil.Run(t, testutil.Require(t, "vmdkinfo", "libvmdk-utils"), filepath.Join(w.ours, "ours")); !strings.Contains(info, "Media size:") {
					t.Errorf("vmdkinfo says %s", info)
				}
			}
			names, err := filepath.Glob(filepath.Join(w.theirs, "theirs*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if err := os.Link(name, filepath.Join(w.ours, filepath.Base(name))); err != nil {
					t.Fatal(err)
				}
			}
			if len(names) == 1 { // info does not open other files
				w.compare(t, "info", "theirs")
				w.compare(t, "info", "--output=json", "theirs")
			}
			w.compare(t, "dd", "if=theirs", "of=out", "bs=1000", "skip=3", "count=700")
		})
	}
}

// A stream-optimized image of the kind that VMware makes has its grain directory
// behind the grains, and says where in a footer; the header says that it does not
// know.
func TestVMDKWithFooter(t *testing.T) {
	t.Parallel()
	footers := map[string][]byte{}
	for _, input := range []string{"text.raw", "order.qcow2"} {
		name := filepath.Join(t.TempDir(), "stream.vmdk")
		testutil.RunIn(t, images(t), "qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", input, name)
		image, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		footers[input+".vmdk"], footers[input+".damaged.vmdk"] = withFooter(image), withFooter(image)
		damaged := footers[input+".damaged.vmdk"]
		damaged[len(damaged)-1024] = 'X' // of the footer's magic
	}
	w := newTwo(t, func(folder string) {
		for name, image := range footers {
			maker{t, folder}.write(name, image)
		}
	})
	for _, input := range []string{"text.raw", "order.qcow2"} {
		for _, args := range [][]string{
			{"dd", "of=out", "if=" + input + ".vmdk"},
			{"dd", "of=out", "if=" + input + ".vmdk", "bs=1000", "skip=3", "count=500"},
			{"convert", "-O", "qcow2", input + ".vmdk", "out"},
			{"convert", input + ".vmdk", "out"},
			{"info", input + ".vmdk"},
			{"info", "--output=json", input + ".vmdk"},
			{"compare", input, input + ".vmdk"},
			{"convert", input + ".damaged.vmdk", "out"},
		} {
			w.compare(t, args...)
		}
		program.MustRun(t, w.ours, nil, program.Instar(), "info", "--strict", input+".vmdk")
	}
}

// withFooter moves the tables of a stream-optimized image behind its grains, each
// behind a marker, and adds the footer and the end of the stream ("Virtual Disk
// Format 5.0", "Stream-Optimized Compressed Sparse Extents").
func withFooter(image []byte) []byte {
	const sector = 512
	le := binary.LittleEndian
	out := bytes.Clone(image)
	out = append(out, make([]byte, (sector-len(out)%sector)%sector)...)
	header := image[:sector]
	directory, perTable := le.Uint64(header[56:])*sector, uint64(le.Uint32(header[44:]))
	span := le.Uint64(header[20:]) * perTable
	tables := (le.Uint64(header[12:]) + span - 1) / span
	add := func(kind uint32, content []byte) (at int) {
		marker := make([]byte, sector)
		le.PutUint64(marker, uint64(len(content)+sector-1)/sector)
		le.PutUint32(marker[12:], kind)
		out = append(out, marker...)
		at = len(out)
		out = append(append(out, content...), make([]byte, (sector-len(content)%sector)%sector)...)
		return at
	}
	var moved []byte
	for k := range tables {
		old := uint64(le.Uint32(image[directory+4*k:])) * sector
		at := 0
		if old != 0 {
			at = add(1, image[old:][:4*perTable])
			clear(out[old:][:4*perTable])
		}
		moved = le.AppendUint32(moved, uint32(at/sector))
	}
	at := add(2, moved)
	clear(out[directory:][:4*tables])
	footer := bytes.Clone(out[:sector])
	le.PutUint64(footer[56:], uint64(at/sector))
	add(3, footer)
	le.PutUint64(out[48:], 0)
	le.PutUint64(out[56:], 1<<64-1)
	return append(out, make([]byte, sector)...)
}
