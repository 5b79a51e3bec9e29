// Package differential runs the real qemu-img and the program under the name
// qemu-img on the same command lines, and compares what they print, how they
// exit and what they write.
package differential

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

func TestMain(m *testing.M) {
	code := program.Main(m)
	os.RemoveAll(folder)
	os.RemoveAll(inputFolder)
	os.Exit(code)
}

// Two are the folders in which the two programs run: each has all the inputs
// (see images), and command lines write to "out".
type two struct {
	qemuImg      string
	ours, theirs string
	env          []string // of ours
	existing     bool     // there is an output already
	format       string   // of outputs; what no two have in common is left out
}

// newTwo makes the folders. prepare, which may be nil, adds files to each.
func newTwo(t *testing.T, prepare func(folder string)) two {
	t.Helper()
	inputs := images(t)
	w := two{qemuImg: testutil.QemuImg(t), ours: t.TempDir(), theirs: t.TempDir()}
	entries, err := os.ReadDir(inputs)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{w.ours, w.theirs} {
		for _, entry := range entries {
			if err := os.Link(filepath.Join(inputs, entry.Name()), filepath.Join(folder, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
		if prepare != nil {
			prepare(folder)
		}
	}
	return w
}

// behind has ours run behind a wall instead of the one that it chooses.
func (w two) behind(wall string) two {
	w.env = append(w.env, "INSTAR_SANDBOX="+wall)
	return w
}

// A divergence is how ours ends where it differs on purpose; docs/divergences.md
// has the reasons.
type divergence struct {
	code   int
	stderr string // whole, without the prefix "qemu-img: "
}

// compare runs a command line with both programs. They have to exit with the
// same code and print the same, and the output has to have the same bytes.
// Where they fail ours must leave no output, although theirs may.
func (w two) compare(t *testing.T, args ...string) {
	t.Helper()
	w.diverge(t, nil, args...)
}

// diverge is compare for a command line where ours ends as d says, if not nil.
func (w two) diverge(t *testing.T, d *divergence, args ...string) {
	t.Helper()
	theirs := program.Run(t, w.theirs, nil, w.qemuImg, args...)
	ours := program.Run(t, w.ours, w.env, program.AsQemuImg(), args...)
	if args[0] == "info" {
		ours.Stdout = program.AsInfo(ours.Stdout)
	}
	theirOut, ourOut := filepath.Join(w.theirs, "out"), filepath.Join(w.ours, "out")
	defer os.Remove(theirOut)
	defer os.Remove(ourOut)

	if slices.Contains(w.env, "INSTAR_SANDBOX=none") {
		ours.Stderr = strings.TrimPrefix(ours.Stderr, openWarning)
	}
	line := "qemu-img " + strings.Join(args, " ")
	want := program.Result{Code: theirs.Code, Stdout: theirs.Stdout, Stderr: newest(theirs.Stderr, args)}
	if d != nil {
		want.Code, want.Stderr = d.code, ""
		if d.stderr != "" {
			want.Stderr = "qemu-img: " + d.stderr + "\n"
		}
	}
	if ours.Code != want.Code || ours.Stderr != want.Stderr || ours.Stdout != want.Stdout {
		t.Errorf("%s\nexit code %d, want %d\nstandard error  %q\nwant            %q\nstandard output %q\nwant            %q",
			line, ours.Code, want.Code, ours.Stderr, want.Stderr, ours.Stdout, want.Stdout)
	}
	if ours.Code != 0 {
		if _, err := os.Lstat(ourOut); err == nil && !w.existing {
			t.Errorf("%s\nfailed, and left an output", line)
		}
		return
	}
	if theirs.Code != 0 {
		return
	}
	if _, err := os.Lstat(theirOut); err != nil {
		return
	}
	testutil.Mask(t, w.format, ourOut)
	testutil.Mask(t, w.format, theirOut)
	if diff, err := program.Difference(ourOut, theirOut); err != nil {
		t.Errorf("%s\n%v", line, err)
	} else if diff != "" {
		t.Errorf("%s\nthe outputs, ours first: %s", line, diff)
	}
}

// openWarning is what ours says first where no wall was asked for.
const openWarning = "qemu-img: warning: --sandbox=none: the image is parsed with your rights, behind no wall\n"

// syntaxError is how QEMU before 10.1 says that a number is none.
var syntaxError = regexp.MustCompile(`(?s)^qemu-img: Invalid (\w+) specified\. You may use k, M.*exabytes\.\n$`)

// imageSizeError is the same of the size that create is given, in the end.
var imageSizeError = regexp.MustCompile(`(?s)^qemu-img: Invalid image size specified\. You may use k, M.*exabytes\.\n$`)

// moduleMissing is what Debian's qemu-img says of parts that are in another
// package.
var moduleMissing = regexp.MustCompile(`(?m)^qemu: module \S+ not found, .*\n`)

// newest rewrites what qemu-img said on standard error into what its newest
// version says, with nothing missing.
func newest(stderr string, args []string) string {
	stderr = moduleMissing.ReplaceAllString(stderr, "")
	if imageSizeError.MatchString(stderr) {
		return "qemu-img: Invalid image size specified: '" + args[len(args)-1] + "'\n"
	}
	m := syntaxError.FindStringSubmatch(stderr)
	if m == nil {
		return stderr
	}
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, m[1]+"="); ok {
			return "qemu-img: Invalid " + m[1] + " specified: '" + value + "'\n"
		}
	}
	return stderr
}

// requireWall skips the test where a wall cannot be had.
func requireWall(t *testing.T, wall string) {
	t.Helper()
	r := program.Run(t, images(t), []string{"INSTAR_SANDBOX=" + wall}, program.Instar(), "info", "pattern.qcow2")
	if r.Code != 0 {
		t.Skipf("no wall %s here: %s", wall, r.Stderr)
	}
}

// allocated returns how much space a file takes, in bytes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return blocks(info) * 512
}
