package localfile

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"instar/internal/testutil"
)

// image returns the name of a new qcow2 image.
func image(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	testutil.Run(t, testutil.QemuImg(t), "create", "-q", "-f", "qcow2", name, "1M")
	return name
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// keepOpen has qemu keep an image open until the test ends.
func keepOpen(t *testing.T, name string, flags ...string) {
	t.Helper()
	cmd := exec.Command(testutil.Require(t, "qemu-io", "qemu-utils"), append(flags, "-f", "qcow2", name)...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	in.Write([]byte("length\n"))
	// It prompts, and answers, once the image is open.
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "MiB") {
			return
		}
	}
	t.Fatal("qemu-io did not open the image")
}

func TestLocksOfQemu(t *testing.T) {
	for _, test := range []struct {
		name        string
		flags       []string
		read, write string
	}{
		{"reader", []string{"-r"}, "", `Failed to get "write" lock`},
		{"writer", nil, `Failed to get shared "write" lock`, `Failed to get "write" lock`},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := image(t)
			keepOpen(t, name, test.flags...)
			for want, err := range map[string]error{
				"read " + test.read:   LockRead(open(t, name), "x"),
				"write " + test.write: LockWrite(open(t, name), "x"),
			} {
				_, want, _ = strings.Cut(want, " ")
				if want != "" {
					want += "\nIs another process using the image [x]?"
				}
				if got := errorText(err); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Qemu heeds our locks as its own.
func TestQemuHeedsTheLocks(t *testing.T) {
	qemuIO := testutil.Require(t, "qemu-io", "qemu-utils")
	run := func(flags ...string) string {
		out, _ := exec.Command(qemuIO, append(flags, "-c", "length")...).CombinedOutput()
		return string(out)
	}
	t.Run("reader", func(t *testing.T) {
		name := image(t)
		if err := LockRead(open(t, name), name); err != nil {
			t.Fatal(err)
		}
		if out := run(name); !strings.Contains(out, `Failed to get "write" lock`) {
			t.Errorf("a writer got %q", out)
		}
		if out := run("-r", name); !strings.Contains(out, "1 MiB") {
			t.Errorf("another reader got %q", out)
		}
	})
	t.Run("writer", func(t *testing.T) {
		name := image(t)
		f := open(t, name)
		if err := LockWrite(f, name); err != nil {
			t.Fatal(err)
		}
		if out := run("-r", name); !strings.Contains(out, `Failed to get shared "write" lock`) {
			t.Errorf("a reader got %q", out)
		}
		f.Close()
		if out := run(name); !strings.Contains(out, "1 MiB") {
			t.Errorf("after the writer has gone, a writer got %q", out)
		}
	})
}

func TestLocksOfThisProgram(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first, second := open(t, name), open(t, name)
	if err := errors.Join(LockRead(first, name), LockRead(second, name)); err != nil {
		t.Errorf("two readers: %v", err)
	}
	var locked *LockError
	if err := LockWrite(open(t, name), name); !errors.As(err, &locked) {
		t.Errorf("a writer beside readers: %v", err)
	}
}

// The last reader's locks go with its last descriptor, wherever that was sent.
func TestLocksLastAsLongAsADuplicate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, name)
	if err := LockRead(f, name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	locked := func() bool {
		f := open(t, name)
		defer f.Close()
		return LockWrite(f, name) != nil
	}
	if !locked() {
		t.Error("the lock went with the first descriptor")
	}
	cmd.Process.Kill()
	cmd.Wait()
	deadline := time.Now().Add(5 * time.Second)
	for locked() {
		if time.Now().After(deadline) {
			t.Fatal("the lock outlived its last descriptor")
		}
	}
}
