package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// render returns the page.
func render(o options, tables []table) (string, error) {
	var b strings.Builder
	where, err := machine(o)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+`, which anyone can repeat; do not edit.

%s

Inputs have %s of a real file system with real files, unless the row says otherwise. The contenders of a row ran in turn,
A B A B, on a warm page cache, nothing waiting to be written; all outputs of a row were equal. Each figure is the median of
%d rounds after a warm-up (%d for start-up), the spread is from the fastest to the slowest. "Ratio" is the time of that
line over the time of the row's first line: above 1 the first is faster. Memory is the most that one process took, the
guest's process included. instar runs behind the wall that it chooses by itself unless the line says otherwise.
`, where, mebibytes(o.size), o.rounds, o.starts)
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n", t.title)
		b.WriteString("| program | median | spread | ratio | memory | user | system |\n|---|--:|--:|--:|--:|--:|--:|\n")
		base := of(t.samples[0], elapsed)
		for i, c := range t.contenders {
			s := t.samples[i]
			all := figures(s, elapsed)
			median := of(s, elapsed)
			fmt.Fprintf(&b, "| %s | %s | %s–%s | %.2f | %s | %s | %s |\n", c.name, duration(median), duration(all[0]),
				duration(all[len(all)-1]), float64(median)/float64(base), mebibytes(of(s, memory)), duration(of(s, user)), duration(of(s, system)))
		}
	}
	return b.String(), nil
}

// machine describes what the measurements were made on.
func machine(o options) (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(o.data, &fs); err != nil {
		return "", err
	}
	qemu, err := exec.Command("qemu-img", "--version").Output()
	if err != nil {
		return "", err
	}
	version, _, _ := strings.Cut(string(qemu), "\n")
	return fmt.Sprintf("- %s; %d cores; Linux %s; %s\n- %s; %s", processor(), runtime.NumCPU(), unix.ByteSliceToString(uts.Release[:]),
		fileSystem(fs.Type), version, runtime.Version()), nil
}

// processor returns the processor's name.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func fileSystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "XFS"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return fmt.Sprintf("file system %#x", magic)
}

// duration returns d with three digits or so.
func duration(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
}

func mebibytes(n int64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
