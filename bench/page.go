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

// A report is everything that was measured.
type report struct {
	tables []table
	curves []curve
	failed []string // rows that could not be measured, and why
}

// render returns the page.
func render(o options, r report) (string, error) {
	var b strings.Builder
	where, err := machine(o)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+`, which anyone can repeat; do not edit.

%s

Inputs have %s of a real file system with real files, unless the row says otherwise. The contenders of a row ran in turn,
each round in an order of its own, on a warm page cache, nothing waiting to be written; all outputs of a row had equal content. %sEach figure is the
median of %d rounds after a warm-up (%d for start-up), or of up to three times as many that take no longer than %v; the spread is from the fastest to the slowest. "Ratio" is the time
of that line over the time of the row's first line: above 1 the first is faster. Memory is the most that one process took;
that of the microVM includes the guest's. Calls are system calls, counted by strace in a run of its own, exits are how
often the microVM was left. instar runs behind the wall that it chooses by itself unless the line says otherwise.
Where a row has a part of the size, that is so that a slow contender does not take minutes.
`, where, mebibytes(o.size), aboutBallast(o), o.rounds, o.starts, o.more)
	targets(&b, r)
	b.WriteString("\n## Rows\n")
	for _, t := range r.tables {
		renderTable(&b, t)
	}
	renderCurves(&b, r.curves)
	return b.String(), nil
}

// aboutBallast says what was done about a hypervisor, if anything.
func aboutBallast(o options) string {
	if !o.ballast {
		return ""
	}
	return "The machine is a virtual one that gives\nfree memory back to its host and waits for it when it is used again; a ballast kept it in pieces too small for that.\n"
}

// targets compares what was measured with what is wanted.
func targets(b *strings.Builder, r report) {
	b.WriteString("\n## What is wanted, and what was measured\n\nThe peer's time over instar's, or for instar without a wall, its time over that behind one.\n\n")
	b.WriteString("| work | peer | at least | measured | |\n|---|---|--:|--:|---|\n")
	for _, t := range r.tables {
		if t.missing != "" || len(t.samples[0]) == 0 {
			continue
		}
		base := of(t.samples[0], elapsed)
		for i, c := range t.contenders {
			if c.atLeast > 0 {
				ratio := float64(of(t.samples[i], elapsed)) / float64(base)
				fmt.Fprintf(b, "| %s | %s | %.4g | %.2f | %s |\n", t.title, c.name, c.atLeast, ratio, verdict(ratio >= c.atLeast))
			}
			if c.grows > 0 {
				ratio := float64(t.extras[0].size) / float64(t.extras[i].size)
				fmt.Fprintf(b, "| %s: size of the output | %s | at most %.2f | %.3f | %s |\n", t.title, c.name, c.grows, ratio, verdict(ratio <= c.grows))
			}
		}
		if t.most > 0 {
			ms := float64(base) / float64(time.Millisecond)
			fmt.Fprintf(b, "| %s | by the clock | at most %.0f ms | %.1f ms | %s |\n", t.title, t.most, ms, verdict(ms <= t.most))
		}
	}
	for _, f := range r.failed {
		fmt.Fprintf(b, "| %s | | | not measured | fails |\n", strings.ReplaceAll(f, "|", "\\|"))
	}
}

func verdict(ok bool) string {
	if ok {
		return "holds"
	}
	return "**falls short**"
}

func renderTable(b *strings.Builder, t table) {
	fmt.Fprintf(b, "\n### %s\n\n", t.title)
	if t.note != "" {
		fmt.Fprintf(b, "%s.\n\n", t.note)
	}
	if t.missing != "" {
		fmt.Fprintf(b, "Not measured: %s.\n", t.missing)
		return
	}
	if len(t.samples[0]) == 0 {
		b.WriteString("Not measured: see above.\n")
		return
	}
	b.WriteString("| program | median | spread | ratio | memory | user | system | calls | exits | output |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	base := of(t.samples[0], elapsed)
	for i, c := range t.contenders {
		s, x := t.samples[i], t.extras[i]
		if len(s) == 0 {
			continue
		}
		all := figures(s, elapsed)
		median := of(s, elapsed)
		size := "–"
		if t.output != "" {
			size = mebibytes(x.size)
		}
		fmt.Fprintf(b, "| %s | %s | %s–%s | %.2f | %s | %s | %s | %s | %s | %s |\n", c.name, duration(median), duration(all[0]),
			duration(all[len(all)-1]), float64(median)/float64(base), mebibytes(of(s, memory)), duration(of(s, user)), duration(of(s, system)),
			count(x.calls), count(x.exits), size)
	}
}

// count returns a number that may be unknown.
func count(n int64) string {
	if n < 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

func renderCurves(b *strings.Builder, curves []curve) {
	if len(curves) == 0 {
		return
	}
	b.WriteString("\n## How cost grows\n\nEach is a conversion of qcow2 to raw, or to qcow2 where the virtual size grows. A slope is the exponent: 0 is level,\n" +
		"1 is in proportion.\n")
	for _, c := range curves {
		fmt.Fprintf(b, "\n### With %s\n\nSlope of time: %.2f. Slope of memory: %.2f.\n\n![%s](plots/%s.svg)\n\n| %s | time | memory |\n|--:|--:|--:|\n",
			c.title, slope(c.points, pointTime), slope(c.points, pointMemory), c.title, c.name, c.axis)
		for _, p := range c.points {
			fmt.Fprintf(b, "| %s | %s | %s |\n", p.label, duration(time.Duration(p.time*float64(time.Second))), mebibytes(int64(p.memory*(1<<20))))
		}
	}
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
