package differential

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// vhdInputs have small clusters and large ones, holes, and clusters that are
// out of order.
var vhdInputs = []string{
	"pattern.raw", "text.raw", "odd.raw", "empty.raw", "small.qcow2", "big.qcow2", "zlib512.qcow2",
	"hole.qcow2", "order.qcow2", "zero.qcow2", "subcluster.qcow2", "chain5.qcow2",
}

func TestDDWritesVHDsAsQemuImgDoes(t *testing.T) {
	for _, format := range []string{"vpc", "vhdx"} {
		for _, input := range vhdInputs {
			t.Run(format+"/"+input, func(t *testing.T) {
				t.Parallel()
				w := newTwo(t, nil)
				w.format = format
				windows := []string{
					"", "bs=65536 skip=2 count=4", "bs=1000 count=3", "bs=513 skip=1 count=3", "bs=1000 skip=1", "bs=65537 skip=3",
					"bs=4k skip=64 count=80",
				}
				switch input { // empty VHDX files are large
				case "empty.raw":
					windows = []string{""}
				case "pattern.raw":
					windows = append(windows, "count=0", "skip=99999")
				}
				for _, window := range windows {
					w.compare(t, append([]string{"dd", "-O", format, "if=" + input, "of=out"}, strings.Fields(window)...)...)
				}
			})
		}
	}
}

func TestConvertWritesVHDsAsQemuImgDoes(t *testing.T) {
	for _, input := range vhdInputs {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			for _, line := range []string{
				"vpc", "vpc -S 0", "vpc -o force_size=on", "vpc -o force_size,subformat=dynamic",
				"vhdx", "vhdx -S 0", "vhdx -o block_state_zero=off", "vhdx -o block_size=1M,log_size=1500k",
			} {
				args := strings.Fields(line)
				w.format = args[0]
				w.compare(t, append(append([]string{"convert", "-O"}, args...), input, "out")...)
				if input == "empty.raw" && line == "vhdx" {
					break // the others are as large
				}
			}
			w.format = "vpc"
			for _, line := range []string{"subformat=fixed", "subformat=fixed,force_size=on,preallocation=full"} {
				w.compare(t, "convert", "-O", "vpc", "-o", line, input, "out")
				w.compare(t, "convert", "-S", "0", "-O", "vpc", "-o", line, input, "out")
			}
		})
	}
}

func TestVHDOptionsAreRefusedAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, line := range []string{
		"vpc -o subformat=bogus", "vpc -o subformat=Fixed", "vpc -o foo=1", "vpc -o subformat=x,foo=1", "vpc -o force_size=bogus",
		"vpc -o preallocation=metadata", "vpc -c",
		"vhdx -o subformat=bogus", "vhdx -o block_size=3M", "vhdx -o log_size=0", "vhdx -o log_size=0,block_size=3M",
		"vhdx -o log_size=4G", "vhdx -o log_size=5G,block_size=3M", "vhdx -o block_state_zero=maybe", "vhdx -o foo=1", "vhdx -c",
		"vhdx -o preallocation=bogus,subformat=bogus", "vhdx -o preallocation=metadata,log_size=0",
	} {
		w.compare(t, append(append([]string{"convert", "-O"}, strings.Fields(line)...), "pattern.raw", "out")...)
	}
}

func TestLargeVHDs(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		for _, size := range []string{"127G", "136899993600", "2T", "2040G", "3T", "2190433321472"} {
			m.create(size+".qcow2", size)
			m.io(size+".qcow2", "write -P 7 1G 1M", "write -P 8 100G 4k")
		}
	})
	for _, line := range []string{
		"vpc 127G", "vpc 136899993600", "vpc 2T", "vpc 2040G", "vpc 3T", "vpc 2190433321472",
		"vhdx 127G", "vhdx 2T", "vhdx 3T", "vhdx 3T -o block_size=16M,block_state_zero=off",
	} {
		args := strings.Fields(line)
		w.format = args[0]
		w.compare(t, append(append([]string{"convert", "-O", args[0]}, args[2:]...), args[1]+".qcow2", "out")...)
	}
}

// A fixed image has all of its blocks in it, as a whole. qemu-img says of new ones
// that they are zeros, unless it is told otherwise, and stores them again as they
// come; and its file ends with the disk, inside of the last block.
func TestFixedVHDX(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	w.format = "vhdx"
	for _, args := range [][]string{{"-o", "subformat=fixed"}, {"-S", "0", "-o", "subformat=fixed,block_state_zero=on"}} {
		for _, input := range []string{"big.qcow2", "pattern.raw"} {
			convert := append(append([]string{"convert", "-O", "vhdx"}, args...), input)
			ours, theirs := filepath.Join(w.ours, "fixed"), filepath.Join(w.theirs, "fixed")
			program.MustRun(t, w.ours, nil, program.AsQemuImg(), append(convert, ours)...)
			program.MustRun(t, w.theirs, nil, w.qemuImg, "convert", "-O", "vhdx", "-o", "subformat=fixed,block_state_zero=off", "-S", "0", input, theirs)
			testutil.Mask(t, w.format, ours)
			testutil.Mask(t, w.format, theirs)
			if err := os.Truncate(theirs, 16*mib); err != nil { // 8 MiB, and a block of 8
				t.Fatal(err)
			}
			program.Same(t, ours, theirs)
		}
	}
}

// What is written behind any wall is the same.
func TestVHDsBehindEveryWall(t *testing.T) {
	for _, wall := range []string{"kvm", "jail", "none"} {
		t.Run(wall, func(t *testing.T) {
			t.Parallel()
			requireWall(t, wall)
			w := newTwo(t, nil).behind(wall)
			for _, w.format = range []string{"vpc", "vhdx"} {
				w.compare(t, "dd", "-O", w.format, "if=order.qcow2", "of=out", "bs=1000", "skip=1")
				w.compare(t, "convert", "-O", w.format, "big.qcow2", "out")
			}
		})
	}
}

// vhds makes inputs of both formats, with what qemu-img offers, and returns
// the options that each is read with.
func vhds(t *testing.T, folder string) map[string][]string {
	m := maker{t: t, dir: folder}
	inputs := map[string][]string{}
	for name, o := range map[string]struct{ options, format string }{
		"dynamic.vpc":   {"", "vpc"},
		"exact.vpc":     {"force_size=on", "vpc"},
		"fixed.vpc":     {"subformat=fixed", "vpc"},
		"dynamic.vhdx":  {"", "vhdx"},
		"fixed.vhdx":    {"subformat=fixed", "vhdx"},
		"present.vhdx":  {"subformat=fixed,block_state_zero=off", "vhdx"},
		"small.vhdx":    {"block_size=1M,log_size=2M", "vhdx"},
		"notthere.vhdx": {"block_size=1M,block_state_zero=off", "vhdx"},
	} {
		options := []string{"create", "-q", "-f", o.format}
		if o.options != "" {
			options = append(options, "-o", o.options)
		}
		testutil.Run(t, "qemu-img", append(options, m.path(name), "5000k")...)
		for _, command := range []string{"write -P 0x31 4M 700k", "write -P 0x32 1000k 100k", "write -P 0x33 2047k 2k"} {
			testutil.Run(t, "qemu-io", "-f", o.format, "-c", command, m.path(name))
		}
		inputs[name] = nil
		if name == "fixed.vpc" {
			inputs[name] = []string{"-f", "vpc"}
		}
	}
	return inputs
}

func TestVHDsAreReadAsByQemuImg(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	inputs := vhds(t, folder)
	w := newTwo(t, func(to string) {
		for name := range inputs {
			if err := os.Link(filepath.Join(folder, name), filepath.Join(to, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	for name, options := range inputs {
		for _, window := range []string{"", "bs=65536 skip=2 count=4", "bs=1000 skip=1", "bs=1M skip=1 count=4", "skip=99999"} {
			w.compare(t, slices.Concat([]string{"dd"}, options, []string{"if=" + name, "of=out"}, strings.Fields(window))...)
		}
		for _, arguments := range []string{"convert NAME out", "convert -O qcow2 NAME out", "convert -O vhdx NAME out", "info NAME", "info --output=json NAME"} {
			words := strings.Fields(strings.Replace(arguments, "NAME", name, 1))
			if w.format = ""; slices.Contains(words, "vhdx") {
				w.format = "vhdx"
			}
			w.compare(t, slices.Concat(words[:1], options, words[1:])...)
		}
	}
}
