package kills

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"instar/internal/program"
)

// At a terminal the passphrase is asked for, where no other source has one. What
// is typed is not shown, and the terminal is as it was in the end.
func TestPrompt(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("content "), 1<<17)
	if err := os.WriteFile(filepath.Join(dir, "content"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	program.MustRun(t, dir, nil, program.Instar(), "convert", "-f", "raw", "-O", "luks", "--object", "secret,id=s,data=geheim", "-o", "key-secret=s,iter-time=1", "content", "disk.luks")
	program.MustRun(t, dir, nil, program.Instar(), "convert", "-f", "raw", "-O", "qcow2", "--object", "secret,id=s,data=geheim", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1", "content", "disk.qcow2")
	for _, test := range []struct {
		name, command, typed string
		code                 int
		said                 string
	}{
		{"right", "dd if=disk.luks of=out", "geheim\n", 0, ""},
		{"right, of qcow2", "convert -O raw disk.qcow2 out", "geheim\n", 0, ""},
		{"with a mistake", "dd if=disk.luks of=out", "gehx\x7feim\n", 0, ""},
		{"wrong", "dd if=disk.luks of=out", "falsch\n", 1, "instar: Could not open 'disk.luks': Invalid password, cannot unlock any keyslot\n"},
		{"wrong, of qcow2", "convert -O raw disk.qcow2 out", "falsch\n", 1, "instar: Could not open 'disk.qcow2': Invalid password, cannot unlock any keyslot\n"},
		{"nothing", "dd if=disk.luks of=out", "\n", 1, "instar: Could not open 'disk.luks': Parameter 'key-secret' is required for cipher\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			terminal, theirs := pseudoTerminal(t)
			var stderr bytes.Buffer
			cmd := exec.Command(program.Instar(), strings.Fields(test.command)...)
			cmd.Dir, cmd.Stdin, cmd.Stderr = dir, theirs, &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			program.Until(t, "the prompt", func() bool { return !echoes(t, theirs) })
			if _, err := terminal.WriteString(test.typed); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != test.code || stderr.String() != test.said {
				t.Errorf("exit code %d, standard error %q", code, stderr.String())
			}
			if !echoes(t, theirs) {
				t.Error("the terminal does not echo any more")
			}
			name := strings.TrimPrefix(strings.Fields(test.command)[len(strings.Fields(test.command))-2], "if=")
			if shown := screen(t, terminal, theirs); !strings.HasSuffix(shown, "Passphrase for "+name+": \r\n") {
				t.Errorf("the terminal shows %q", shown)
			}
			out, err := os.ReadFile(filepath.Join(dir, "out"))
			os.Remove(filepath.Join(dir, "out"))
			if got := err == nil && bytes.Equal(out, content); got != (test.code == 0) || (test.code != 0) != errors.Is(err, os.ErrNotExist) {
				t.Errorf("the output: %d bytes, %v", len(out), err)
			}
		})
	}
}

// screen returns all that was written to a terminal whose last user has left it.
func screen(t *testing.T, terminal, theirs *os.File) string {
	t.Helper()
	theirs.Close()
	shown, err := io.ReadAll(terminal)
	if err != nil && !errors.Is(err, syscall.EIO) { // how a terminal ends that nobody has open
		t.Fatal(err)
	}
	return string(shown)
}
