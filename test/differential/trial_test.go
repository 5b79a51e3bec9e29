package differential

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"instar/internal/program"
	"instar/internal/testutil"
)

// A trial is commands that make images in a folder, and a command line of
// qemu-img that both programs are run with, in such folders. The folder has a
// file "noise" of 64 KiB; what is made under a name that begins with "out" is
// an output that is there already.
type trial struct {
	setup [][]string // of qemu-img and qemu-io
	line  []string   // without the program
}

// A verdict is how the two programs differed: in what, and in which way.
type verdict struct {
	kind   string // "" where they did not
	detail string
}

func (v verdict) String() string { return v.kind + ": " + v.detail }

func differ(kind, format string, args ...any) verdict {
	return verdict{kind, fmt.Sprintf(format, args...)}
}

// option returns the value behind a flag of the line, the last one, or "".
func (c trial) option(flag string) string {
	for i := len(c.line) - 2; i >= 0; i-- {
		if c.line[i] == flag {
			return c.line[i+1]
		}
	}
	return ""
}

// format returns the format of the output.
func (c trial) format() string {
	if c.has("--target-image-opts") {
		format, _, _ := strings.Cut(c.line[len(c.line)-1], ",")
		return strings.TrimPrefix(format, "driver=")
	}
	for _, flag := range []string{"-O", "-f"} {
		if f := c.option(flag); f != "" && (flag == "-O" || c.line[0] == "create") {
			return f
		}
	}
	return "raw"
}

// has reports whether the line has a flag.
func (c trial) has(flag string) bool { return slices.Contains(c.line, flag) }

// sets reports whether the options of the output have a text.
func (c trial) sets(option string) bool { return strings.Contains(c.option("-o"), option) }

// exact reports that the output has to have the same bytes, and not only the
// same content; docs/divergences.md and docs/formats have the reasons.
func (c trial) exact() bool {
	switch format := c.format(); {
	case c.sets("encrypt"), c.sets("streamOptimized"), c.has("-c"), c.has("-B"):
		return false
	case c.has("-n"):
		return format == "raw"
	case format == "luks", format == "vhdx" && c.sets("fixed"), format == "qcow2" && c.has("-C"):
		return false
	case format == "raw":
		return true
	case (format == "qed" || format == "parallels") && (c.sets("cluster_size=4k") || c.hasSmallClusters()),
		format == "qed" && (c.line[0] == "dd" || c.option("-S") == "0" || c.readsClusters() || c.endsWithin()):
		return false
	case c.sets("cluster_size=512"), c.sets("cluster_size=1k"), c.sets("extended_l2"):
		return false
	case c.readsClusters() && (c.option("-S") == "64k" || c.option("-S") == "1M"):
		return false
	default:
		return true
	}
}

// hasSmallClusters reports whether there are inputs with clusters of less than
// 4 KiB, of which qemu-img makes many small requests.
func (c trial) hasSmallClusters() bool {
	setup := c.String()
	return strings.Contains(setup, "cluster_size=512") || strings.Contains(setup, "cluster_size=1k") || strings.Contains(setup, "-f qcow ")
}

// readsClusters reports whether there are inputs that qemu-img reads cluster by
// cluster, however many of them lie in a row.
func (c trial) readsClusters() bool {
	return slices.ContainsFunc(c.setup, func(args []string) bool {
		line := quote(args)
		return strings.Contains(line, "convert -c") || strings.Contains(line, "write -c") ||
			args[1] == "create" && (strings.Contains(line, "-f vmdk") || strings.Contains(line, "-f qcow "))
	})
}

// endsWithin reports whether there are inputs that end within a cluster, which
// qemu-img reads by itself.
func (c trial) endsWithin() bool {
	return slices.ContainsFunc(c.setup, func(args []string) bool {
		size, _ := strconv.ParseInt(args[len(args)-1], 10, 64)
		return args[1] == "create" && size%(64*kib) != 0 && !strings.Contains(quote(args), "-f raw")
	})
}

// prepare makes the folders of the two programs and returns whether the
// commands that make the images worked. The inputs are the same files in both.
func (c trial) prepare(t *testing.T, theirs, ours string) bool {
	t.Helper()
	if !c.setUp(t, theirs) {
		return false
	}
	share(t, theirs, ours)
	return true
}

// share makes a folder that has what another has: the same files, and copies of
// outputs.
func share(t *testing.T, dir, other string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err == nil {
		err = os.MkdirAll(other, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		from, to := filepath.Join(dir, e.Name()), filepath.Join(other, e.Name())
		if strings.HasPrefix(e.Name(), "out") {
			err = copyFile(from, to)
		} else {
			err = os.Link(from, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// setUp makes the images in a folder, and returns whether that worked.
func (c trial) setUp(t *testing.T, dir string) bool {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "noise"), text(64*kib), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range c.setup {
		r := runQemu(t, dir, args[0], args[1:])
		taken := strings.Contains(r.Stdout+r.Stderr, "write failed: Input/output error") // a cluster that is there is not compressed
		if r.Code != 0 && (args[0] != "qemu-io" || !taken) {
			return false
		}
	}
	return true
}

// copyFile copies a file with its holes, and no others.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	for end := int64(0); ; {
		start, err := unix.Seek(int(in.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return out.Truncate(info.Size())
		}
		if err != nil {
			return err
		}
		if end, err = unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
	}
}

// run carries the trial out in new folders below dir, which it removes.
// Whether the images could be made is its second result.
func (c trial) run(t *testing.T, dir string, env []string) (verdict, bool) {
	t.Helper()
	theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
	defer os.RemoveAll(theirs)
	defer os.RemoveAll(ours)
	if !c.prepare(t, theirs, ours) {
		return verdict{}, false
	}
	return c.compare(t, theirs, ours, env), true
}

// compare runs the line in both folders.
func (c trial) compare(t *testing.T, theirs, ours string, env []string) verdict {
	t.Helper()
	line := c.instead()
	if line != nil {
		share(t, theirs, theirs+"-instead")
		defer os.RemoveAll(theirs + "-instead")
	}
	want := runQemuImg(t, theirs, c.line)
	got := program.Run(t, ours, env, program.AsQemuImg(), c.line...)
	if c.line[0] == "info" {
		got.Stdout = program.AsInfo(got.Stdout)
	}
	want.Stderr = newest(want.Stderr, c.line)
	c.excuse(&want, got)
	switch {
	case got.Code != want.Code:
		return differ("exit", "code %d, want %d\nstandard error %q\nwant           %q", got.Code, want.Code, got.Stderr, want.Stderr)
	case got.Stderr != want.Stderr:
		return differ("stderr", "%q\nwant %q", got.Stderr, want.Stderr)
	case got.Stdout != want.Stdout:
		return differ("stdout", "%q\nwant %q", got.Stdout, want.Stdout)
	case got.Code != 0 || c.line[0] == "info" || c.line[0] == "compare":
		return verdict{}
	}
	if line != nil {
		theirs += "-instead"
		if r := runQemuImg(t, theirs, line); r.Code != 0 {
			return differ("exit", "of %s: code %d, standard error %q", quote(line), r.Code, r.Stderr)
		}
	}
	return c.compareOutputs(t, theirs, ours)
}

// runQemuImg runs qemu-img.
func runQemuImg(t *testing.T, dir string, line []string) program.Result {
	t.Helper()
	return runQemu(t, dir, testutil.QemuImg(t), line)
}

// runQemu runs a program of QEMU, again if it failed by chance.
func runQemu(t *testing.T, dir, name string, args []string) program.Result {
	t.Helper()
	r := program.Run(t, dir, nil, name, args...)
	for try := 1; r.Code != 0 && try < testutil.MaxTries && testutil.Unlucky(r.Stderr); try++ {
		r = program.Run(t, dir, nil, name, args...)
	}
	return r
}

// Texts of qemu-img, where ours ends otherwise on purpose.
var (
	wrongQcow  = "Try the 'qcow2' driver instead.\n"
	odd        = regexp.MustCompile(`^qemu-img: error while writing at byte \d+: (Invalid argument|Input/output error)\n$`)
	impossible = regexp.MustCompile(`^qemu-img: error while writing at byte \d+: Operation not supported\n$`)
)

// excuse has what qemu-img said and how it exited be what ours is to say and how
// it is to exit; docs/divergences.md has the reasons.
func (c trial) excuse(want *program.Result, got program.Result) {
	switch {
	case c.option("-f") == "qcow":
		want.Stderr = strings.Replace(want.Stderr, wrongQcow, "", 1)
	case c.has("-n") && c.has("-c") && c.format() == "qcow2" && want.Code == 1 && odd.MatchString(want.Stderr):
		want.Code, want.Stderr = 0, ""
	case c.intoStream() != nil && want.Code == 1 && odd.MatchString(want.Stderr):
		want.Code, want.Stderr = 0, ""
	case c.has("-c") && c.sets("data_file") && want.Code == 1 && impossible.MatchString(got.Stderr) &&
		(want.Stderr == "" || c.has("-W") && impossible.MatchString(want.Stderr)):
		want.Stderr = got.Stderr // it does not say why if there are only zeros, and with -W where by chance
	}
}

// intoStream returns the command that made the output if it is a stream-optimized
// image that is there, or nil. QEMU writes each of its grains once, and only whole
// ones.
func (c trial) intoStream() []string {
	for _, args := range c.setup {
		if c.has("-n") && args[len(args)-2] == "out" && strings.Contains(strings.Join(args, " "), "streamOptimized") {
			return args
		}
	}
	return nil
}

// instead returns the line by which qemu-img makes what ours makes of the line of
// the trial, where it makes something else of that, or nothing; nil is the same.
func (c trial) instead() []string {
	line := slices.Clone(c.line)
	drop := func(flag string, n int) {
		if k := slices.Index(line, flag); k >= 0 {
			line = slices.Delete(line, k, k+n)
		}
	}
	drop("-W", 1) // in what order qemu-img stores is by chance then
	if c.format() == "luks" {
		drop("--target-is-zero", 1) // what it leaves out is decrypted all the same
	}
	if c.has("-n") && c.has("-B") {
		drop("-B", 2)
		drop("-F", 2)
	}
	if c.has("-n") && c.has("-c") && c.format() == "qcow2" {
		drop("-c", 1)
	}
	if c.intoStream() != nil {
		drop("-n", 1)
		drop("--target-is-zero", 1)
		drop("--target-image-opts", 1)
		drop("-O", 2)
		line = append([]string{line[0], "-O", "vmdk", "-o", "subformat=streamOptimized"}, line[1:]...)
		line[len(line)-1] = "out"
	}
	if slices.Equal(line, c.line) {
		return nil
	}
	return line
}

func (c trial) compareOutputs(t *testing.T, theirs, ours string) verdict {
	t.Helper()
	names := outputs(t, ours)
	if want := outputs(t, theirs); !slices.Equal(names, want) {
		return differ("names", "%q, want %q", names, want)
	}
	if v := c.compareSpace(t, theirs, ours, names); v.kind != "" {
		return v
	}
	if v := c.compareBytes(t, theirs, ours, names); v.kind == "" || c.exact() {
		return v
	}
	return c.compareContent(t, theirs, ours)
}

// compareBytes compares the outputs, with what no two images have in common left out.
func (c trial) compareBytes(t *testing.T, theirs, ours string, names []string) verdict {
	t.Helper()
	for _, name := range names {
		a, b := filepath.Join(ours, name), filepath.Join(theirs, name)
		format := ""
		if name == "out" {
			if format = c.format(); !c.exact() { // they are still needed as they are
				for _, p := range []*string{&a, &b} {
					to := *p + ".masked"
					if err := copyFile(*p, to); err != nil {
						t.Fatal(err)
					}
					*p = to
					defer os.Remove(to)
				}
			}
			testutil.Mask(t, format, a)
			testutil.Mask(t, format, b)
		}
		if diff, err := program.Difference(a, b); err != nil || diff != "" {
			return differ("bytes", "%s, ours first: %s %v", name, diff, err)
		}
	}
	return verdict{}
}

// compareSpace compares how long the outputs are, and what they take.
func (c trial) compareSpace(t *testing.T, theirs, ours string, names []string) verdict {
	t.Helper()
	for what, measure := range map[string]func(string) int64{
		"bytes":           func(path string) int64 { return length(t, path) },
		"bytes of blocks": func(path string) int64 { return allocated(t, path) },
	} {
		var got, want int64
		for _, name := range names {
			got += measure(filepath.Join(ours, name))
			want += measure(filepath.Join(theirs, name))
		}
		slack := want/8 + 256*kib
		if c.format() == "vhdx" && strings.Contains(c.option("-o"), "fixed") {
			slack += 256 * mib // the last block is there as a whole
		}
		if c.takesAll() {
			slack += c.virtualSize(t, theirs)
		}
		if got > want+slack {
			return differ("space", "%d %s, want %d", got, what, want)
		}
	}
	return verdict{}
}

// takesAll reports that an output may have space for all of the disk where
// qemu-img's has not: docs/divergences.md has the reasons.
func (c trial) takesAll() bool {
	full := c.sets("preallocation=falloc") || c.sets("preallocation=full")
	if c.format() == "qcow2" && full && (c.sets("data_file") || c.sets("encrypt.")) {
		return true
	}
	if c.sets("encrypt.") && c.sets("preallocation") && c.sets("compat=0.10") {
		return true
	}
	if c.format() == "qcow2" && c.sets("preallocation=metadata") {
		return true
	}
	return c.has("-C") && (c.format() == "qcow2" || c.format() == "raw")
}

func length(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// secretFlag has the passphrase of encrypted images.
var secretFlag = []string{"--object", "secret,id=s,data=abc"}

// opened returns the words by which qemu-img opens an output.
func (c trial) opened(folder string) string {
	s := "driver=" + c.format() + ",file.filename=" + filepath.Join(folder, "out")
	switch {
	case c.format() == "luks":
		return s + ",key-secret=s"
	case strings.Contains(c.option("-o"), "encrypt.format=luks"):
		return s + ",encrypt.format=luks,encrypt.key-secret=s"
	}
	return s
}

// compareContent lets qemu-img compare what the outputs show, and check ours.
func (c trial) compareContent(t *testing.T, theirs, ours string) verdict {
	t.Helper()
	args := append(append([]string{"compare"}, secretFlag...), "--image-opts", c.opened(ours), c.opened(theirs))
	if r := program.Run(t, ours, nil, testutil.QemuImg(t), args...); r.Code != 0 && !c.decryptsNothing() {
		return differ("content", "%s%s", r.Stdout, r.Stderr)
	}
	want := c.virtualSize(t, theirs)
	if made := c.intoStream(); made != nil {
		size, _ := strconv.ParseInt(made[len(made)-1], 10, 64)
		want = (size + 511) &^ 511
	}
	if got := c.virtualSize(t, ours); got != want {
		return differ("virtual size", "%d, want %d", got, want)
	}
	if f := c.format(); f == "raw" || f == "luks" || f == "vpc" || f == "qcow" {
		return verdict{}
	}
	args = append(append([]string{"check"}, secretFlag...), "--image-opts", c.opened(ours))
	if r := program.Run(t, ours, nil, testutil.QemuImg(t), args...); r.Code != 0 {
		return differ("check", "%s%s", r.Stdout, r.Stderr)
	}
	return verdict{}
}

// decryptsNothing reports that the output is a new image in which what nobody
// has written is decrypted all the same, to something else in each.
func (c trial) decryptsNothing() bool {
	return c.line[0] == "create" && (c.format() == "luks" || c.sets("encrypt.") && c.sets("preallocation"))
}

func (c trial) virtualSize(t *testing.T, folder string) (size int64) {
	t.Helper()
	args := append(append([]string{"info", "--output=json"}, secretFlag...), "--image-opts", c.opened(folder))
	r := program.MustRun(t, folder, nil, testutil.QemuImg(t), args...)
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &info); err != nil {
		t.Fatal(err)
	}
	return info.Size
}
