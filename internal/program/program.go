// Package program builds the program as it is shipped, and runs it and
// qemu-img for the tests of whole commands.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// dir has the program under its name, and as qemu-img.
var dir string

// Main builds the program, or takes the one that INSTAR_PROGRAM names (an
// installed package, say), runs the tests of a package and returns the exit
// code for TestMain.
func Main(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "instar-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := provide(os.Getenv("INSTAR_PROGRAM")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := errors.Join(os.Mkdir(filepath.Dir(AsQemuImg()), 0o755), os.Symlink(Instar(), AsQemuImg())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// provide puts the program into dir: an existing one, or else a new build.
func provide(existing string) error {
	if existing != "" {
		return os.Symlink(existing, Instar())
	}
	build := exec.Command("go", "build", "-trimpath", "-o", Instar(), "instar/cmd/instar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build instar/cmd/instar: %w\n%s", err, out)
	}
	return nil
}

// Instar returns the path of the program.
func Instar() string { return filepath.Join(dir, "instar") }

// AsQemuImg returns the path of the program under the name qemu-img.
func AsQemuImg() string { return filepath.Join(dir, "as", "qemu-img") }

// A Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
	Elapsed        time.Duration
	Usage          *syscall.Rusage // of the process and its children that it waited for
}

// limit bounds every command: none of the tests' should come near it.
const limit = 2 * time.Minute

// Run runs a command in a folder. A command that is killed by a signal, or
// that has to be, fails the test; any exit code does not.
func Run(t testing.TB, folder string, env []string, name string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = limit / 4 // what it leaves may hold its streams
	start := time.Now()
	err := cmd.Run()
	r := Result{Stdout: stdout.String(), Stderr: stderr.String(), Elapsed: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		r.Code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, r.Stderr)
	}
	r.Usage, _ = cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return r
}

// MustRun runs a command that has to exit with 0.
func MustRun(t testing.TB, folder string, env []string, name string, args ...string) Result {
	t.Helper()
	r := Run(t, folder, env, name, args...)
	if r.Code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s", filepath.Base(name), args, r.Code, r.Stderr)
	}
	return r
}

// Same fails the test unless two files have the same content; it says where
// they begin to differ.
func Same(t testing.TB, got, want string) {
	t.Helper()
	if diff, err := Difference(got, want); err != nil {
		t.Error(err)
	} else if diff != "" {
		t.Errorf("%s and %s: %s", got, want, diff)
	}
}

// Difference returns how two files differ, and "" when they do not.
func Difference(got, want string) (string, error) {
	a, err := os.Open(got)
	if err != nil {
		return "", err
	}
	defer a.Close()
	b, err := os.Open(want)
	if err != nil {
		return "", err
	}
	defer b.Close()
	as, err := a.Stat()
	if err != nil {
		return "", err
	}
	bs, err := b.Stat()
	if err != nil {
		return "", err
	}
	if as.Size() != bs.Size() {
		return fmt.Sprintf("%d bytes against %d", as.Size(), bs.Size()), nil
	}
	const piece = 1 << 20
	x, y := make([]byte, piece), make([]byte, piece)
	for off := int64(0); off < as.Size(); off += piece {
		n := min(piece, as.Size()-off)
		if _, err := a.ReadAt(x[:n], off); err != nil {
			return "", err
		}
		if _, err := b.ReadAt(y[:n], off); err != nil {
			return "", err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			i := 0
			for x[i] == y[i] {
				i++
			}
			return fmt.Sprintf("they differ at byte %d: %#02x against %#02x", off+int64(i), x[i], y[i]), nil
		}
	}
	return "", nil
}
