package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"instar/internal/program"
)

// small runs a script in a namespace of its own, where the folder "small" is a
// file system of one MiB with the old output on it.
func (f *fixture) small(t *testing.T, options, script string) run {
	t.Helper()
	if exec.Command("unshare", "-r", "-m", "mount", "-t", "tmpfs", "none", "/mnt").Run() != nil {
		t.Skip("no small file system can be mounted here")
	}
	const make = `mkdir small; mount -t tmpfs -o size=1m none small && printf '` + old + `' >small/out && mount -o remount,size=1m"$1" small; `
	// The old output is compared where it can be seen, and what lies beside it
	// moves to where check finds it.
	const look = `; code=$?; cat small/out >out; rm -f small/out 2>/dev/null; for f in small/.[!.]*; do [ -e "$f" ] && cp "$f" .; done; umount small; rmdir small; exit $code`
	return run{program.Run(t, f.dir, nil, "unshare", "-r", "-m", "sh", "-c", make+script+look, program.Instar(), options), script}
}

// commands write the output OUT in all the ways that there are.
var writing = []string{
	"dd if=in.raw of=OUT", "convert -O raw in.qcow2 OUT", "convert -O qcow2 in.raw OUT", "convert -O qcow2 -c in.raw OUT",
	"convert -O vmdk -o subformat=streamOptimized in.raw OUT", "convert -O vhdx in.raw OUT", "convert -O vpc in.raw OUT",
	"convert -O vdi in.raw OUT", "convert -O qed in.raw OUT", "convert -O raw -S 0 zip.qcow2 OUT", "convert -O qcow2 -o preallocation=full in.raw OUT",
	"convert -O raw -t none -T none in.raw OUT",
}

// A full file system is said, and a read-only one, and a file that may not grow.
func TestNoRoom(t *testing.T) {
	commands := writing
	if !complete() {
		commands = writing[:4]
	}
	for _, wall := range walls()[1:] {
		for _, command := range commands {
			d := newFixture(t)
			at := strings.NewReplacer("OUT", "small/out").Replace(command)
			env := "INSTAR_SANDBOX=" + wall + ` "$0" `
			for _, r := range []run{
				d.small(t, "", env+at),
				d.small(t, ",ro", env+at),
				d.small(t, ",nr_inodes=3", env+at),
				{program.Run(t, d.dir, nil, "sh", "-c", "ulimit -f 100; "+env+strings.ReplaceAll(command, "OUT", "out"), program.Instar()), command + " with a limit"},
			} {
				r.what += " behind " + wall
				d.check(t, r)
				if r.Code != 1 {
					t.Errorf("%s: exit code %d", r.what, r.Code)
				}
				if said := said(r.Stderr); len(said) == 1 && !hasAny(said[0], "No space left on device", "Read-only file system", "File too large", "is not writable") {
					t.Errorf("%s: it says %q", r.what, said)
				}
				d.renew(t)
			}
		}
	}
}

func hasAny(s string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// A program that may have few descriptors, or little memory, says so or copies.
func TestFewDescriptors(t *testing.T) {
	d := newFixture(t)
	for _, limit := range []string{"-n 4", "-n 6", "-n 8", "-n 10", "-n 12", "-n 16", "-n 24", "-n 32", "-n 40"} {
		for _, wall := range walls()[1:] {
			r := run{program.Run(t, d.dir, nil, "sh", "-c", "ulimit "+limit+"; INSTAR_SANDBOX="+wall+` exec "$0" convert -O qcow2 in.qcow2 out`, program.Instar()), "ulimit " + limit + " behind " + wall}
			d.check(t, r)
			d.renew(t)
		}
	}
}

// A file that is cut short while it is read is continued by zeros, as a file that
// was short from the start is, or is an error; the run comes to an end.
func TestInputIsCutShort(t *testing.T) {
	for _, wall := range walls()[1:] {
		for _, name := range []string{"in.raw", "in.qcow2", "zip.qcow2"} {
			d := newFixture(t)
			content, err := os.ReadFile(d.path(name))
			if err != nil {
				t.Fatal(err)
			}
			shrinks := d.path("shrinks")
			if err := os.WriteFile(shrinks, content, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program.Instar(), "convert", "--sandbox="+wall, "-r", "2M", "-O", "raw", "shrinks", "out")
			cmd.Dir = d.dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(30 * time.Second); !d.begun(); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it does not begin")
				}
			}
			if err := os.Truncate(shrinks, 70000); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			os.Remove(shrinks)
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() != 1 {
				t.Errorf("%s behind %s: %v", name, wall, err)
			}
			got, _ := os.ReadFile(d.path("out"))
			if err == nil && len(got) != len(d.content) || err != nil && string(got) != old {
				t.Errorf("%s behind %s: %v, and the output has %d bytes", name, wall, err, len(got))
			}
			if left := left(t, d.dir); len(left) > 0 {
				t.Errorf("%s behind %s: it leaves %v", name, wall, left)
			}
		}
	}
}

// begun reports that a temporary file has content.
func (f *fixture) begun() bool {
	names, _ := filepath.Glob(f.path(".out.instar-*"))
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Blocks > 0 {
			return true
		}
	}
	return false
}
