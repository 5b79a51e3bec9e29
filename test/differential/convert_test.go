package differential

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"instar/internal/program"
)

func TestConvertGivesTheSameBytes(t *testing.T) {
	for _, input := range append(rawInputs, qcow2Inputs...) {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			for _, options := range []string{"", "-O raw", "-S 0", "-S 4k", "-S 64k", "-S 512", "-W -m 4", "-q -T none -t writeback"} {
				args := append([]string{"convert"}, strings.Fields(options)...)
				w.compare(t, append(args, input, "out")...)
			}
		})
	}
}

func TestConvertGivesTheSameBytesBehindEveryWall(t *testing.T) {
	for _, wall := range []string{"kvm", "jail"} {
		t.Run(wall, func(t *testing.T) {
			t.Parallel()
			requireWall(t, wall)
			w := newTwo(t, nil).behind(wall)
			for _, input := range []string{"text.raw", "order.qcow2", "zlib.qcow2", "zstd.qcow2", "subcluster.qcow2", "chain5.qcow2"} {
				w.compare(t, "convert", input, "out")
				w.compare(t, "convert", "-S", "0", input, "out")
			}
		})
	}
}

func TestConvertConcatenatesItsInputs(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, inputs := range []string{
		"pattern.raw text.raw",
		"odd.raw one.raw sector.raw odd.raw",
		"empty.raw pattern.qcow2",
		"pattern.qcow2 nothing.qcow2 zlib.qcow2",
		"chain5.qcow2 subcluster.qcow2 zstd.qcow2",
		"text.raw text.raw",
	} {
		w.compare(t, append(append([]string{"convert", "-O", "raw"}, strings.Fields(inputs)...), "out")...)
		w.compare(t, append(append([]string{"convert", "-S", "0"}, strings.Fields(inputs)...), "out")...)
	}
}

func TestConvertFailsAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, args := range [][]string{
		{},
		{"pattern.raw"},
		{"-O", "raw", "pattern.raw"},
		{"-O", "bogus", "pattern.raw", "out"},
		{"-f", "bogus", "pattern.raw", "out"},
		{"-f", "qcow2", "pattern.raw", "out"},
		{"nope.raw", "out"},
		{"pattern.raw", "nope.raw", "out"},
		{"", "out"},
		{".", "out"},
		{"pattern.raw", "nope/out"},
		{"pattern.raw", "."},
		{"-S", "100", "pattern.raw", "out"},
		{"-S", "32M", "pattern.raw", "out"},
		{"-O", "bogus", "nope.raw", "out"},
	} {
		w.compare(t, append([]string{"convert"}, args...)...)
	}
}

// A sparse output has holes where qemu-img's has them: it takes no more space,
// save for what a file system rounds.
func TestConvertIsAsSparseAsQemuImg(t *testing.T) {
	const slack = 64 * kib
	w := newTwo(t, nil)
	for _, input := range append(rawInputs, qcow2Inputs...) {
		for _, size := range []string{"4k", "64k"} {
			args := []string{"convert", "-S", size, input, "out"}
			program.MustRun(t, w.theirs, nil, w.qemuImg, args...)
			program.MustRun(t, w.ours, w.env, program.AsQemuImg(), args...)
			ours, theirs := allocated(t, filepath.Join(w.ours, "out")), allocated(t, filepath.Join(w.theirs, "out"))
			if ours > theirs+slack {
				t.Errorf("qemu-img %s: %d bytes are allocated, qemu-img allocates %d", strings.Join(args, " "), ours, theirs)
			}
		}
	}
}

// What -p prints has qemu-img's records, between its first and its last ones.
// How many steps there are between is each program's own.
func TestConvertPrintsProgressAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	records := regexp.MustCompile(`^    \(0\.00/100%\)\r(    \([0-9]{1,2}\.[0-9]{2}/100%\)\r)*(    \(100\.00/100%\)\r){2}\n$`)
	w := newTwo(t, nil)
	for _, input := range []string{"text.raw", "big.qcow2", "zlib512.qcow2", "chain5.qcow2"} {
		for _, options := range []string{"-p", "-p -S 0", "-p -W -m 4"} {
			args := append(append([]string{"convert"}, strings.Fields(options)...), input, "out")
			theirs := program.MustRun(t, w.theirs, nil, w.qemuImg, args...).Stdout
			ours := program.MustRun(t, w.ours, w.env, program.AsQemuImg(), args...).Stdout
			if !records.MatchString(theirs) {
				t.Fatalf("qemu-img %s: %q", strings.Join(args, " "), theirs)
			}
			if !records.MatchString(ours) {
				t.Errorf("qemu-img %s: %q", strings.Join(args, " "), ours)
			}
		}
	}
}
