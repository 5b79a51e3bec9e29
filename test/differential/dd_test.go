package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// windows are operands of dd: the test matrix, and windows that are aligned
// with nothing.
var windows = []string{
	"",
	"bs=65536 skip=1",
	"bs=65536 count=8",
	"bs=65536 skip=2 count=4",
	"bs=1000 skip=1 count=2",
	"bs=1000 count=3",
	"bs=513 skip=1 count=3",
	"bs=1M count=2",
	"count=99999",
	"count=0",
	"skip=99999",
	"bs=1000 skip=1",
	"bs=999 skip=65 count=700",
	"bs=65537 skip=3",
	"bs=1 skip=65535 count=65600",
	"bs=131071 skip=1 count=3",
	"bs=4k skip=64 count=80",
	"bs=2147483647",
	"count=9223372036854775807 bs=4096",
	"skip=9223372036854775807 bs=2147483647",
	"count=1 skip=1",
	"count=1 skip=2",
}

func TestDDGivesTheSameBytes(t *testing.T) {
	for _, input := range append(rawInputs, qcow2Inputs...) {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			w := newTwo(t, nil)
			for _, window := range windows {
				w.compare(t, append([]string{"dd", "if=" + input, "of=out"}, strings.Fields(window)...)...)
			}
		})
	}
}

// The walls that the program did not choose give the same.
func TestDDGivesTheSameBytesBehindEveryWall(t *testing.T) {
	for _, wall := range []string{"kvm", "jail", "none"} {
		t.Run(wall, func(t *testing.T) {
			t.Parallel()
			requireWall(t, wall)
			w := newTwo(t, nil).behind(wall)
			for _, input := range []string{"text.raw", "order.qcow2", "zstd.qcow2", "chain5.qcow2"} {
				for _, window := range []string{"", "bs=1000 skip=1", "bs=999 skip=65 count=700", "skip=99999"} {
					w.compare(t, append([]string{"dd", "if=" + input, "of=out"}, strings.Fields(window)...)...)
				}
			}
		})
	}
}

func TestDDTakesFormatsAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, line := range []string{
		"-f raw if=pattern.raw of=out",
		"-f qcow2 if=pattern.qcow2 of=out",
		"-f raw if=pattern.qcow2 of=out",
		"-O raw if=pattern.qcow2 of=out",
		"if=pattern.qcow2 of=out -O raw -f qcow2",
		"if=pattern.qcow2 -Oraw of=out -fqcow2",
		"-U if=pattern.qcow2 of=out",
		"--force-share if=pattern.qcow2 of=out",
		"--force if=pattern.qcow2 of=out",
		"-f bogus -f qcow2 -O bogus -O raw if=pattern.qcow2 of=out",
		"-- if=pattern.qcow2 of=out",
		"bs=0x200 if=nope if=text.raw of=nope of=out",
		"if=file:pattern.raw of=file:out",
	} {
		w.compare(t, append([]string{"dd"}, strings.Fields(line)...)...)
	}
}

func TestDDFailsAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.overlay("lost.qcow2", "gone.qcow2", "qcow2", "1M", "-u")
		m.overlay("lostdeep.qcow2", "lost.qcow2", "qcow2", "1M", "-u")
		if err := os.Mkdir(filepath.Join(folder, "folder"), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	files := []string{"if=pattern.raw", "of=out"}
	for _, args := range [][]string{
		// The command line (in the order of the checks).
		{},
		{"if=pattern.raw"},
		{"of=out"},
		append(files, "seek=1"),
		append(files, "conv=notrunc"),
		append(files, "oflag=direct"),
		append(files, "iflag=direct"),
		append(files, "status=none"),
		append(files, "ibs=1"),
		append(files, "osize=1"),
		append(files, "foo=1"),
		append(files, "bar"),
		append(files, ""),
		append(files, "="),
		append(files, "=x"),
		append(files, " bs=1"),
		append(files, "BS=1"),
		append(files, "bs=0", "bs=2k"),
		append(files, "foo=1", "bs=0"),
		append(files, "bs=0", "foo=1"),
		append(files, "-n"),
		append(files, "-c"),
		append(files, "--bogus"),
		append(files, "-O"),
		append(files, "-f"),
		append(files, "--", "-O"),
		{"bs=0"},
		{"count=x", "seek=1"},
		// The input.
		{"if=nope.raw", "of=out"},
		{"if=nope.raw", "of=out", "-O", "bogus"},
		{"if=", "of=out"},
		{"if=.", "of=out"},
		{"if=nope/in.raw", "of=out"},
		{"if=pattern.raw/in", "of=out"},
		append(files, "-f", "bogus"),
		append(files, "-f", "qcow2"),
		append(files, "-f", "vpc"),
		append(files, "-f", "vhdx"),
		append(files, "-f", "vmdk"),
		{"if=empty.raw", "of=out", "-f", "qcow2"},
		{"if=lost.qcow2", "of=out"},
		{"if=lostdeep.qcow2", "of=out"},
		// The output.
		append(files, "-O", "bogus"),
		append(files, "-O", "RAW"),
		append(files, "-O", ""),
		append(files, "-f", "raw", "-O", "bogus"),
		{"if=pattern.raw", "of=nope/out"},
		{"if=pattern.raw", "of=folder"},
		{"if=pattern.raw", "of=pattern.qcow2/out"},
		{"if=pattern.raw", "of="},
		{"if=pattern.raw", "of=/dev/full"},
	} {
		w.compare(t, append([]string{"dd"}, args...)...)
	}
}

// Every row of numbers, as bs, count and skip.
func TestDDReadsNumbersAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	numbers := []string{
		"512", "08", "010", " 512", "\t512", "+512", " +512", "512b", "512B", "1k", "1K", "0.5k", "1.5k", "1.k", "1.0", "1.0b",
		"1.0005k", "0x200", "0X200", "0x1b", "0x1E", "0x200b", "1m", "1M", "1g", "1G", "0", "0b", "0.0004k",
		"512 ", "1kk", "1kB", "1KiB", "512s", "512c", "512w", "1x512", "1e3", "0b10", "0o10", "1_000", "", "k", "abc", "inf", "nan",
		"0x", "0xg", "0x1.8k", "1.5", "1.5b", "1.5e3", "1e", "1.5E", "1E", "8E", "16E", "-1k",
		"18446744073709551616", "99999999999999999999k", "9223372036854775807", "9223372036854775808", "2147483647", "2147483648",
		"1t", "1T", "1p", "1P", "7e", "++1", "+ 1", "- 1", ".", ".k", "1.2.3", "1,5k", "0.5b", "0x10000000000000000",
	}
	for _, number := range numbers {
		w.compare(t, "dd", "if=sector.raw", "of=out", "bs="+number)
		w.compare(t, "dd", "if=pattern.raw", "of=out", "count="+number)
		w.compare(t, "dd", "if=pattern.raw", "of=out", "skip="+number)
	}
}

// Where versions of QEMU differ, the newest one is followed.
func TestDDReadsNumbersAsTheNewestQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	const between = "Invalid bs specified. Must be between 1 and 2147483647."
	for number, d := range map[string]divergence{
		".5k":  {},                         // 8.1 takes it
		"-1":   {code: 1, stderr: between}, // 8.1 has it out of range
		"-0":   {code: 1, stderr: between},
		"-512": {code: 1, stderr: between},
		"0x1k": {code: 1, stderr: "Invalid bs specified: '0x1k'"}, // 8.0 refuses it
	} {
		w.diverge(t, &d, "dd", "if=pattern.raw", "of=out", "bs="+number)
	}
}
