// Package testutil has what the tests of several packages share.
package testutil

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Require returns the path of a program that a test needs. Without it the test
// is skipped, with the name of the package that has it; in CI it fails.
func Require(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed (package %s), and CI must have it", program, pkg)
	}
	t.Skipf("%s is not installed (package %s)", program, pkg)
	return ""
}

// QemuImg returns the path of qemu-img; see [Require].
func QemuImg(t testing.TB) string {
	t.Helper()
	return Require(t, "qemu-img", "qemu-utils")
}

// Run runs a command that must succeed and returns its standard output.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return RunIn(t, "", name, args...)
}

// RunIn is [Run] in a folder.
func RunIn(t testing.TB, folder, name string, args ...string) string {
	t.Helper()
	for try := 1; ; try++ {
		var stderr bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Stderr = folder, &stderr
		out, err := cmd.Output()
		if err == nil {
			return string(out)
		}
		if try == MaxTries || !Unlucky(stderr.String()) {
			t.Fatalf("%s %q: %v\n%s", name, args, err, &stderr)
		}
	}
}

// MaxTries is how often a command is run that fails for no fault of its own.
const MaxTries = 20

// Unlucky reports that qemu-img failed because the machine was busy: it measures
// how long a key derivation takes, and gives up when it was interrupted.
func Unlucky(stderr string) bool {
	return strings.Contains(stderr, "Unable to get accurate CPU usage")
}
