// Package testutil has what the tests of several packages share.
package testutil

import (
	"os"
	"os/exec"
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
	cmd := exec.Command(name, args...)
	cmd.Stderr = new(tail)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, cmd.Stderr)
	}
	return string(out)
}

// tail keeps what a command wrote, for the message of a failure.
type tail []byte

func (b *tail) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }
func (b *tail) String() string              { return string(*b) }
