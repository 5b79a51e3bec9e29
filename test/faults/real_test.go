package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"instar/internal/program"
	"instar/internal/testutil"
)

// A fileSystem is one that real faults happen on.
type fileSystem struct {
	unshare string // options of unshare(1), which has nobody else see the mount
	mount   string // mounts it on the folder small; $IMAGE is a name for a file
	ready   string // is run when the old output is there
}

// tmpfs is one of one MiB, with more options when the old output is there.
func tmpfs(options string) fileSystem {
	return fileSystem{"-rm", "mount -t tmpfs -o size=1m none small", "mount -o remount,size=1m" + options + " small"}
}

// on runs a script where the folder small is a file system with the old output on
// it.
func (f *fixture) on(t *testing.T, fs fileSystem, script string) run {
	t.Helper()
	const cannot = 77
	all := fmt.Sprintf(`mkdir small; { %s; } >/dev/null 2>&1 || { rmdir small; exit %d; }; printf '%s' >small/out; { %s; } >/dev/null 2>&1 || exit 1; `, fs.mount, cannot, old, fs.ready) +
		script +
		// The old output is compared where it can be seen, and what lies beside it
		// moves to where check finds it.
		`; code=$?; cat small/out >out; rm -f small/out 2>/dev/null; for f in small/.[!.]*; do [ -e "$f" ] && cp "$f" .; done; while umount small 2>/dev/null; do :; done; rmdir small; exit $code`
	image := "IMAGE=" + filepath.Join(t.TempDir(), "image")
	r := run{program.Run(t, f.dir, []string{image}, "unshare", fs.unshare, "sh", "-c", all, program.Instar()), script}
	if r.Code == cannot {
		t.Skipf("no such file system can be mounted here: %s", fs.mount)
	}
	return r
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
	for _, wall := range program.Walls() {
		for _, command := range commands {
			d := newFixture(t)
			at := strings.NewReplacer("OUT", "small/out").Replace(command)
			env := "INSTAR_SANDBOX=" + wall + ` "$0" `
			for _, r := range []run{
				d.on(t, tmpfs(""), env+at),
				d.on(t, tmpfs(",ro"), env+at),
				d.on(t, tmpfs(",nr_inodes=3"), env+at),
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

// What a device or a quota refuses is said, also where the kernel learns of it when
// it has long taken what was written.
func TestDevicesAndQuotas(t *testing.T) {
	testutil.Require(t, "mkfs.btrfs", "btrfs-progs")
	const btrfs = "truncate -s 120M $IMAGE && mkfs.btrfs -q $IMAGE && mount -o loop $IMAGE small"
	for _, test := range []struct {
		name     string
		fs       fileSystem
		commands []string
		says     string
	}{
		{
			"a quota",
			fileSystem{"-m", btrfs + " && btrfs quota enable small", "btrfs qgroup limit 2M 0/5 small"},
			[]string{"dd if=in.raw of=small/out", "convert -O raw -t none in.qcow2 small/out", "convert -O qcow2 -o preallocation=full in.raw small/out"},
			"Disk quota exceeded",
		},
		{
			// It is stored in a file that cannot grow. There is no journal, which
			// would end with the file system.
			"a device that fails when what was written reaches it",
			fileSystem{
				"-m", "mount -t tmpfs -o size=2m none small && truncate -s 32M small/image && mke2fs -q -t ext4 -O ^has_journal small/image && mount -o loop small/image small",
				"sync -f small",
			},
			[]string{"dd if=in.raw of=small/out", "convert -O qcow2 -t writeback in.raw small/out", "convert -O vhdx -t writethrough in.qcow2 small/out"},
			"No space left on device",
		},
		{
			// Of a file a byte is changed, and its checksum is not.
			"a device that cannot be read",
			fileSystem{"-m", btrfs + " && { cat in.raw; echo WHERE; cat in.raw; } >small/.in && umount small &&" +
				` at=$(grep -abo WHERE $IMAGE | head -n 1) && printf X | dd of=$IMAGE bs=1 seek=${at%%:*} conv=notrunc && mount -o loop $IMAGE small && mv small/.in small/in`, "true"},
			[]string{"dd -f raw --verify if=small/in of=small/out", "convert -O qcow2 -c -f raw small/in small/out", "convert -O raw -T none -f raw small/in small/out"},
			"Input/output error",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !complete() {
				test.commands = test.commands[:1]
			}
			for _, wall := range program.Walls() {
				for _, command := range test.commands {
					d := newFixture(t)
					r := d.on(t, test.fs, "INSTAR_SANDBOX="+wall+` "$0" `+command)
					d.check(t, r)
					if said := said(r.Stderr); r.Code != 1 || len(said) == 1 && !strings.Contains(said[0], test.says) {
						t.Errorf("%s: exit code %d, %q", r.what, r.Code, said)
					}
				}
			}
		})
	}
}

// With an address space as small as OpenStack gives qemu-img (1 GiB), a run
// succeeds behind the wall that fits.
func TestLittleAddressSpace(t *testing.T) {
	d := newFixture(t)
	for _, limit := range []int{1 << 20, 2 << 20, 4 << 20} { // KiB
		for _, command := range []string{"info in.qcow2 >/dev/null", "convert -O qcow2 -c in.qcow2 out", "convert --sandbox=jail -O raw zip.qcow2 out"} {
			r := run{program.Run(t, d.dir, nil, "sh", "-c", fmt.Sprintf(`ulimit -v %d; exec "$0" %s`, limit, command), program.Instar()), fmt.Sprintf("ulimit -v %d, %s", limit, command)}
			if strings.HasPrefix(command, "info") && r.Code != 0 || !strings.HasPrefix(command, "info") && !d.check(t, r) {
				t.Errorf("%s: exit code %d, %q", r.what, r.Code, r.Stderr)
			}
			d.renew(t)
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

// A program that may have few descriptors says so or copies.
func TestFewDescriptors(t *testing.T) {
	d := newFixture(t)
	for _, limit := range []string{"-n 4", "-n 6", "-n 8", "-n 10", "-n 12", "-n 16", "-n 24", "-n 32", "-n 40"} {
		for _, wall := range program.Walls() {
			r := run{program.Run(t, d.dir, nil, "sh", "-c", "ulimit "+limit+"; INSTAR_SANDBOX="+wall+` exec "$0" convert -O qcow2 in.qcow2 out`, program.Instar()), "ulimit " + limit + " behind " + wall}
			d.check(t, r)
			d.renew(t)
		}
	}
}

// A file that is cut short while it is read is an error, whether that is seen when
// it is read or would be continued by zeros, as a file is that was short from the
// start.
func TestInputIsCutShort(t *testing.T) {
	for _, wall := range program.Walls() {
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
			program.Until(t, "the copy", d.begun)
			if err := os.Truncate(shrinks, 70000); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			os.Remove(shrinks)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("%s behind %s: %v", name, wall, err)
			}
			if got, _ := os.ReadFile(d.path("out")); string(got) != old {
				t.Errorf("%s behind %s: %v, and the output has %d bytes", name, wall, err, len(got))
			}
			if left := left(t, d.dir); len(left) > 0 {
				t.Errorf("%s behind %s: it leaves %v", name, wall, left)
			}
		}
	}
}

// compare does not take for zeros what a file has lost while it was read. It is
// stopped when it has begun, for the file to be shorter when it ends.
func TestComparedIsCutShort(t *testing.T) {
	const size, kept = 16 << 20, 1 << 20 // all that is cut off are zeros
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	content := append(bytes.Repeat([]byte{1}, kept), make([]byte, size-kept)...)
	if err := os.WriteFile(second, content, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, wall := range program.Walls() {
		stopped := false
		for try := 0; !stopped; try++ { // the stop may come too late
			if try == 20 {
				t.Fatalf("behind %s: it has always ended before it is stopped", wall)
			}
			if err := os.WriteFile(first, content, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program.Instar(), "compare", "-p", "--sandbox="+wall, first, second)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			cmd.Process.Signal(unix.SIGSTOP)
			program.Until(t, "the stop", func() bool {
				state := processState(cmd.Process.Pid)
				stopped = state == "T"
				return stopped || state == "Z"
			})
			if err := os.Truncate(first, kept); err != nil {
				t.Fatal(err)
			}
			cmd.Process.Signal(unix.SIGCONT)
			rest, _ := io.ReadAll(out)
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); stopped && (code != 4 || !strings.HasSuffix(said.String(), "first: the file became shorter while it was read\n")) {
				t.Errorf("behind %s: exit code %d, %q, %q", wall, code, said.String(), rest)
			}
		}
	}
}

// processState returns the letter for the state of a process.
func processState(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:min(1, len(rest))]
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
