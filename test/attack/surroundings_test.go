//go:build linux && amd64

package attack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"instar/host/sandbox"
)

// Flags of clone that make a namespace, as container runtimes refuse them.
const anyNamespace = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// surround makes the test's process a place that lacks something, as machines
// and containers do.
func surround(lacks string) error {
	var number, errno uint32
	switch lacks {
	case "":
		return nil
	case "namespaces":
		return loadFilter(refuseClone(anyNamespace))
	case "user namespaces":
		return loadFilter(refuseClone(unix.CLONE_NEWUSER))
	case "mounts": // as AppArmor has it on some distributions
		number, errno = unix.SYS_MOUNT, uint32(unix.EACCES)
	case "Landlock":
		number, errno = unix.SYS_LANDLOCK_CREATE_RULESET, uint32(unix.ENOSYS)
	case "seccomp":
		number, errno = unix.SYS_SECCOMP, uint32(unix.ENOSYS)
	default:
		return fmt.Errorf("cannot take away %q", lacks)
	}
	return loadFilter([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | errno},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
}

// refuseClone refuses clone with any of the flags.
func refuseClone(flags uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 16, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: flags, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	}
}

// TestSurroundings runs the attacks, or the honest worker among them, in places
// that lack something, and as an ordinary user.
func TestSurroundings(t *testing.T) {
	const all, honest = "|^TestAttacks$/^jail$", "|^TestAttacks$/^jail$/^be_honest$"
	for _, c := range []struct {
		name     string
		lacks    string
		ordinary bool
		run      string
		want     string // in the jail's report, or why there is none
	}{
		{"ordinary user", "", true, all, "sandbox: jail"},
		{"container", "namespaces", false, all, "sandbox: namespaces: none: seccomp and Landlock alone"},
		{"ordinary user in a container", "namespaces", true, all, "sandbox: namespaces: none: seccomp and Landlock alone"},
		{"no user namespaces", "user namespaces", false, all, "sandbox: namespaces: no user namespace; start the worker: "},
		{"no mounts", "mounts", true, honest, "sandbox: namespaces: none: seccomp and Landlock alone; leave the file system: make mounts private: permission denied"},
		{"no Landlock", "Landlock", false, all, "sandbox: Landlock: the kernel has none"},
		{"no Landlock for an ordinary user", "Landlock", true, honest, "sandbox: Landlock: the kernel has none"},
		{"no seccomp", "seccomp", false, "", "the kernel has no seccomp filters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.lacks == "mounts" && builtWithCgo {
				t.Skip("mounts are left alone in a program that is built with cgo")
			}
			if c.lacks == "user namespaces" && os.Geteuid() != 0 {
				t.Skip("without them, only root has other namespaces")
			}
			cmd := again(c.run)
			cmd.Env = append(os.Environ(), "INSTAR_TEST_DENY="+c.lacks, "INSTAR_TEST_WANT="+c.want)
			if c.ordinary {
				asNobody(t, cmd)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestWithoutKVM shows that a user who may not use KVM gets the jail, and learns
// why, but not if it was KVM that was asked for.
func TestWithoutKVM(t *testing.T) {
	if os.Getenv("INSTAR_TEST_WANT") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestWithoutKVM$")
		cmd.Env = append(os.Environ(), "INSTAR_TEST_WANT=jail")
		asNobody(t, cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		t.Skip("everybody may use KVM here")
	}
	w, err := sandbox.Start(context.Background(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if r := w.Report(); r.Wall != sandbox.Jail || len(r.Unused) != 1 || r.Unused[0].Wall != sandbox.KVM {
		t.Errorf("the report is %+v", r)
	}
	_, err = sandbox.Start(context.Background(), sandbox.Options{Wall: sandbox.KVM})
	if u := new(sandbox.UnavailableError); !errors.As(err, &u) || u.Wall != sandbox.KVM || u.Hint == "" {
		t.Errorf("%v", err)
	}
	for _, s := range sandbox.Doctor(context.Background(), sandbox.Options{}) {
		if s.Usable != (s.Wall == sandbox.Jail) || s.Chosen != s.Usable || s.Usable && !strings.Contains(s.Why, "kvm") {
			t.Errorf("the doctor says %+v", s)
		}
	}
}

// again returns the command that runs TestReport and other tests anew.
func again(others string) *exec.Cmd {
	return exec.Command("/proc/self/exe", "-test.run=^TestReport$"+others)
}

// TestAddressSpace runs the honest worker where a process can have no more than
// 1 GiB of addresses, as some callers have it.
func TestAddressSpace(t *testing.T) {
	if builtWithCgo {
		t.Skip("built with cgo, this program itself needs more: glibc has a heap for each thread")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -v 1048576 && exec "$0" "$@"`, exe, "-test.run=^TestAttacks$/./^be_honest$")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// asNobody has cmd run as a user without rights, in a folder of its own.
func asNobody(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	const nobody = 65534
	// t.TempDir is in folders that are root's alone.
	dir, err := os.MkdirTemp("", "instar-attack-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	cmd.Dir = filepath.Clean(dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// TestReport shows that what a jail lacks is said, and that there is none
// without seccomp.
func TestReport(t *testing.T) {
	want := cmp.Or(os.Getenv("INSTAR_TEST_WANT"), "sandbox: jail")
	w, err := sandbox.Start(context.Background(), sandbox.Options{Wall: sandbox.Jail})
	got := fmt.Sprint(err)
	if err == nil {
		w.Close()
		got = strings.Join(w.Report().Lines(), "\n")
	} else if u := new(sandbox.UnavailableError); !errors.As(err, &u) {
		t.Error(err)
	}
	if !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
