package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"instar/internal/program"
	"instar/internal/testutil"
)

// both ARGS... runs qemu-img and the program under that name, each in a folder
// of its own (theirs and ours, which the script fills). They have to exit with
// the same code and print the same, but for how often progress is shown and how
// much room a file takes.
func both(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: both arguments of qemu-img...")
	}
	theirs := runIn(ts, "theirs", "qemu-img", args)
	for try := 1; try < testutil.MaxTries && testutil.Unlucky(theirs.Stderr); try++ {
		theirs = runIn(ts, "theirs", "qemu-img", args)
	}
	ours := runIn(ts, "ours", program.AsQemuImg(), args)
	if args[0] == "info" {
		ours.Stdout = program.AsInfo(ours.Stdout)
	}
	if ours != theirs {
		ts.Fatalf("exit code %d, qemu-img %d\nstandard output %q\nqemu-img        %q\nstandard error %q\nqemu-img       %q",
			ours.Code, theirs.Code, ours.Stdout, theirs.Stdout, ours.Stderr, theirs.Stderr)
	}
	ts.Logf("exit code %d\n%s%s", ours.Code, ours.Stdout, ours.Stderr)
}

func runIn(ts *testscript.TestScript, folder, name string, args []string) program.Result {
	var stdout, stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir = ts.MkAbs(folder)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	return program.Result{Code: cmd.ProcessState.ExitCode(), Stdout: alike(stdout.String()), Stderr: stderr.String()}
}

var (
	progressRecords = regexp.MustCompile(`(    \(\d+\.\d\d/100%\)\r)+`)
	diskSize        = regexp.MustCompile(`"actual-size": \d+|disk size: .*`)
)

// alike takes out of what is printed what may differ.
func alike(s string) string {
	s = progressRecords.ReplaceAllString(s, "PROGRESS")
	return diskSize.ReplaceAllString(s, "ROOM")
}

// equal FILE asserts that both programs wrote the same bytes into a file.
func equal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: equal file")
	}
	same(ts, false, []string{filepath.Join("ours", args[0]), filepath.Join("theirs", args[0])})
}

// pair FILE... copies files into the folders of both programs.
func pair(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: pair file...")
	}
	for _, folder := range []string{"ours", "theirs"} {
		ts.Check(os.MkdirAll(ts.MkAbs(folder), 0o777))
		for _, file := range args {
			ts.Check(os.Link(ts.MkAbs(file), filepath.Join(ts.MkAbs(folder), filepath.Base(file))))
		}
	}
}
