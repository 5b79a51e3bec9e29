package kills

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// Of several runs that write one output at a time, each succeeds or is refused in
// one line; the output is that of one of them, whole.
func TestRunsOfOneOutput(t *testing.T) {
	for k, j := range []job{jobs[1], jobs[4], jobs[5], jobs[4]} {
		old := k%2 == 0
		p := newPlace(t, j)
		p.prepare(old)
		var wg sync.WaitGroup
		var mu sync.Mutex
		succeeded := map[string]bool{}
		for n := range 8 {
			wg.Go(func() {
				from := []string{"new.raw", "old.raw"}[n%2]
				words := strings.Fields(strings.ReplaceAll(j.command, "new.raw", from))
				r := program.Run(t, p.dir, nil, program.Instar(), words...)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case r.Code == 0:
					succeeded[strings.TrimSuffix(from, ".raw")] = true
				case r.Code != 1 || !refused(r.Stderr):
					t.Errorf("%s: exit code %d, %q", j.name, r.Code, r.Stderr)
				}
			})
		}
		wg.Wait()
		if is := p.output(); !succeeded[is] {
			t.Errorf("%s, old %v: the output is %q, and those that succeeded are %v", j.name, old, is, succeeded)
		}
		if left := p.leftovers(); len(left) > 0 {
			t.Errorf("%s: they leave %v", j.name, left)
		}
	}
}

// refused reports whether stderr is what is said of a file that somebody else
// writes to, or has just replaced.
func refused(stderr string) bool {
	lock := strings.Contains(stderr, "Is another process using the image [out") && strings.Count(stderr, "\n") == 2
	return lock || strings.HasSuffix(stderr, "the file was replaced just now\n") && strings.Count(stderr, "\n") == 1
}

// While a run writes into an image, qemu's programs are refused; while one of
// them holds it, a run is, with their words.
func TestQemuAndRuns(t *testing.T) {
	qemuImg, qemuIO := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	p := newPlace(t, jobs[0])
	program.MustRun(t, p.dir, nil, qemuImg, "create", "-q", "-f", "qcow2", "image", "12M")
	program.MustRun(t, p.dir, nil, qemuImg, "create", "-q", "-f", "raw", "image.raw", "12M")

	slow := exec.Command(program.Instar(), "convert", "-n", "-r", "4M", "-O", "raw", "new.raw", "image.raw")
	slow.Dir = p.dir
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	begun := func() bool {
		b, err := os.ReadFile(filepath.Join(p.dir, "image.raw"))
		return err == nil && bytes.ContainsFunc(b, func(r rune) bool { return r != 0 })
	}
	program.Until(t, "the copy", begun)
	for _, command := range [][]string{
		{qemuImg, "convert", "-f", "raw", "-O", "raw", "image.raw", "made"},
		{qemuImg, "convert", "-n", "-O", "raw", "old.raw", "image.raw"},
		{qemuIO, "-f", "raw", "-c", "length", "image.raw"},
		{program.Instar(), "info", "-f", "raw", "image.raw"},
		{program.Instar(), "convert", "-O", "raw", "image.raw", "made"},
		{program.Instar(), "dd", "if=old.raw", "of=image.raw"},
	} {
		r := program.Run(t, p.dir, nil, command[0], command[1:]...)
		if r.Code != 1 || !strings.Contains(r.Stderr, " lock\nIs another process using the image [image.raw]?\n") {
			t.Errorf("%q while a run writes: exit code %d, %q", command, r.Code, r.Stderr)
		}
	}
	program.MustRun(t, p.dir, nil, qemuImg, "info", "-U", "-f", "raw", "image.raw")
	program.MustRun(t, p.dir, nil, program.Instar(), "info", "-U", "-f", "raw", "image.raw")
	if err := slow.Wait(); err != nil {
		t.Error(err)
	}
	program.Same(t, filepath.Join(p.dir, "image.raw"), filepath.Join(p.dir, "new.raw"))

	for _, test := range []struct {
		flags   string
		command string
		refused bool
	}{
		{"", "info image", true},
		{"", "info -U image", false},
		{"", "dd if=image of=made", true},
		{"", "dd -U if=image of=made", false},
		{"", "convert -O raw image made", true},
		{"", "convert -U -O raw image made", false},
		{"", "compare image image.raw", true},
		{"", "compare -q -U image image", false},
		{"", "convert -n -O qcow2 new.raw image", true},
		{"", "convert -O qcow2 new.raw image", true},
		{"-r", "info image", false},
		{"-r", "convert -O raw image made", false},
		{"-r", "convert -n -O qcow2 new.raw image", true},
		{"-r", "dd -O qcow2 if=new.raw of=image", true},
	} {
		end := hold(t, qemuIO, p.dir, test.flags)
		theirs := program.Run(t, p.dir, nil, qemuImg, strings.Fields(test.command)...)
		ours := program.Run(t, p.dir, nil, program.AsQemuImg(), strings.Fields(test.command)...)
		end()
		if refused := ours.Code != 0; refused != test.refused {
			t.Errorf("qemu-io %s, %s: exit code %d, %q", test.flags, test.command, ours.Code, ours.Stderr)
		}
		if test.refused && (ours.Code != theirs.Code || ours.Stderr != theirs.Stderr) {
			t.Errorf("qemu-io %s, %s: %d, %q; qemu-img %d, %q", test.flags, test.command, ours.Code, ours.Stderr, theirs.Code, theirs.Stderr)
		}
	}
}

// hold has qemu-io keep the image open until end is called.
func hold(t *testing.T, qemuIO, dir, flags string) (end func()) {
	t.Helper()
	cmd := exec.Command(qemuIO, append(strings.Fields(flags), "-f", "qcow2", "image")...)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Write([]byte("length\n"))
	for s := bufio.NewScanner(out); s.Scan(); { // it answers once the image is open
		if strings.Contains(s.Text(), "MiB") {
			return func() { in.Close(); cmd.Wait() }
		}
	}
	t.Fatal("qemu-io did not open the image")
	return nil
}
