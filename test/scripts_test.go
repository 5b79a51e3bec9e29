// Package test holds the tests of whole commands: the scripts under scripts/,
// each a chapter of the manual that is run, here; the comparison with qemu-img
// in differential/; the main job on real file systems in mainjob/; and the
// arrows between packages in arrows/.
package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"instar/internal/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// TestScripts runs all scripts behind each wall.
func TestScripts(t *testing.T) {
	disk, err := filepath.Abs("../testdata/disk.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	for _, wall := range []string{"kvm", "jail"} {
		t.Run(wall, func(t *testing.T) {
			if ok, _ := condition(wall, disk); !ok {
				t.Skipf("the wall %s is not to be had here: instar doctor says why", wall)
			}
			runScripts(t, disk, wall)
		})
	}
}

func runScripts(t *testing.T, disk, wall string) {
	testscript.Run(t, testscript.Params{
		Dir:                 "scripts",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"both":   both,
			"equal":  equal,
			"fails":  fails,
			"fill":   fill,
			"pair":   pair,
			"same":   same,
			"size":   size,
			"sparse": sparse,
		},
		Condition: func(name string) (bool, error) { return condition(name, disk) },
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(program.Instar())+":"+env.Getenv("PATH"))
			env.Setenv("INSTAR", program.Instar())
			env.Setenv("QEMUIMG", program.AsQemuImg())
			env.Setenv("DISK", disk)
			env.Setenv("INSTAR_SANDBOX", wall)
			env.Setenv("GOCOVERDIR", os.Getenv("GOCOVERDIR")) // for test/cover
			return nil
		},
	})
}

// condition says whether a script's condition holds: [kvm] and [jail]
// for a wall that can be had here; [mount] where a file system can be mounted in
// a namespace; [qemu-img] and [cryptsetup], which are errors in CI where they are
// missing.
func condition(name, disk string) (bool, error) {
	switch name {
	case "kvm", "jail":
		return exec.Command(program.Instar(), "info", "--sandbox="+name, disk).Run() == nil, nil
	case "mount":
		return exec.Command("unshare", "-r", "-m", "mount", "-t", "tmpfs", "none", "/mnt").Run() == nil, nil
	case "qemu-img", "cryptsetup":
		_, err := exec.LookPath(name)
		if err != nil && os.Getenv("CI") != "" {
			return false, errors.New(name + " is not installed (see test/programs), and CI must have it")
		}
		return err == nil, nil
	}
	return false, errors.New("unknown condition " + name)
}

// fails COMMAND... runs a command that must exit with 1 and print nothing on
// standard output.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fails command...")
	}
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		ts.Fatalf("it succeeded")
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		ts.Fatalf("%v, not exit code 1", err)
	case ts.ReadFile("stdout") != "":
		ts.Fatalf("it printed on standard output, although it failed")
	}
}

// fill FILE OFFSET LENGTH BYTE writes LENGTH times BYTE at OFFSET, into a file
// that it makes where there is none.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: fill file offset length byte")
	}
	offset, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	length, err := strconv.Atoi(args[2])
	ts.Check(err)
	value, err := strconv.ParseUint(args[3], 0, 8)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{byte(value)}, length), offset)
	ts.Check(err)
}

// same FILE FILE compares two files of any size and content.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] same file file")
	}
	diff, err := program.Difference(ts.MkAbs(args[0]), ts.MkAbs(args[1]))
	ts.Check(err)
	switch {
	case neg && diff == "":
		ts.Fatalf("%s and %s are the same", args[0], args[1])
	case !neg && diff != "":
		ts.Fatalf("%s and %s: %s", args[0], args[1], diff)
	}
}

// size FILE BYTES asserts the length of a file.
func size(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: size file bytes")
	}
	want, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if info.Size() != want {
		ts.Fatalf("%s has %d bytes, not %d", args[0], info.Size(), want)
	}
}

// sparse FILE BYTES asserts that at most so many bytes of a file are
// allocated; with ! that more are.
func sparse(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] sparse file bytes")
	}
	most, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	var st syscall.Stat_t
	ts.Check(syscall.Stat(ts.MkAbs(args[0]), &st))
	if allocated := st.Blocks * 512; (allocated <= most) == neg {
		ts.Fatalf("%d bytes of %s are allocated", allocated, args[0])
	}
}
