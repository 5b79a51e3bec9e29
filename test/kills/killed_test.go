package kills

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"instar/internal/program"
)

// However a run is ended, the name of the output has what stood there or what
// was to be written, whole; and a run that could clean up leaves nothing else.
func TestKilledRunLeavesTheOldOutput(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.raw"), filepath.Join(dir, "out.raw")
	content := bytes.Repeat([]byte("0123456789abcdef"), 8<<20) // 128 MiB
	if err := os.WriteFile(in, content, 0o644); err != nil {
		t.Fatal(err)
	}
	old := []byte("what stood there")
	interrupted := 0
	for i := range 24 {
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}[i%3]
		if err := os.WriteFile(out, old, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program.Instar(), "dd", "if=in.raw", "of=out.raw")
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 10 * time.Millisecond)
		cmd.Process.Signal(signal)
		err := cmd.Wait()
		if err != nil {
			interrupted++
		}

		got, readErr := os.ReadFile(out)
		if readErr != nil {
			t.Fatal(readErr)
		}
		switch {
		case bytes.Equal(got, old) && err != nil:
		case bytes.Equal(got, content):
		default:
			t.Errorf("%v after %d ms (%v): the output is neither the old nor the new one", signal, i*10, err)
		}
		for _, name := range names(t, dir) {
			if name == "in.raw" || name == "out.raw" {
				continue
			}
			if signal != syscall.SIGKILL {
				t.Errorf("%v after %d ms: left %s", signal, i*10, name)
			}
			os.Remove(filepath.Join(dir, name))
		}
	}
	if interrupted == 0 {
		t.Error("no run was interrupted: the test shows nothing")
	}
}

// A worker does not outlive the program that started it.
func TestKilledRunLeavesNoWorker(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.raw"), bytes.Repeat([]byte{1}, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program.Instar(), "dd", "if=in.raw", "of=out.raw")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := holders(t, dir)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes that have files in %s open: %v", dir, left)
		}
	}
}

// holders returns the processes that have a file below dir open.
func holders(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir+"/") {
			found = append(found, link)
		}
	}
	return found
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}
