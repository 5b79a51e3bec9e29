// Package mainjob does what the program is for, on real input: a file system
// of 640 MiB, made from the tree of the Go distribution, as raw, qcow2,
// compressed qcow2 and on top of a chain of overlays.
package mainjob

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

const (
	mib      = 1 << 20
	diskSize = 640 * mib
	// mostMemory is what a process of the program may take, the guest included.
	mostMemory = 200 * mib
)

func TestRealFileSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("writes some gigabytes")
	}
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		program.MustRun(t, dir, nil, name, args...)
	}
	makeFileSystem(t, filepath.Join(dir, "fs.raw"))
	run(qemuImg, "convert", "-f", "raw", "-O", "qcow2", "fs.raw", "fs.qcow2")
	run(qemuImg, "convert", "-f", "raw", "-O", "qcow2", "-c", "-m", "4", "-W", "fs.raw", "compressed.qcow2")
	makeOverlays(t, dir, "fs.qcow2", 3)

	for _, input := range []string{"fs.raw", "fs.qcow2", "compressed.qcow2", "overlay3.qcow2"} {
		t.Run(input, func(t *testing.T) {
			for _, command := range []string{"dd", "convert"} {
				ours, theirs := commandLines(command, input)
				r := program.MustRun(t, dir, nil, program.Instar(), ours...)
				if r.Stderr != "" {
					t.Errorf("instar %s: %s", strings.Join(ours, " "), r.Stderr)
				}
				if used := r.Usage.Maxrss * 1024; used > mostMemory {
					t.Errorf("instar %s: took %d MiB of memory", strings.Join(ours, " "), used/mib)
				}
				run(qemuImg, theirs...)
				program.Same(t, filepath.Join(dir, "ours.raw"), filepath.Join(dir, "theirs.raw"))
				if !strings.HasPrefix(input, "overlay") {
					program.Same(t, filepath.Join(dir, "ours.raw"), filepath.Join(dir, "fs.raw"))
				}
			}
		})
	}
}

// commandLines returns a copy of input as instar and qemu-img are asked for it.
func commandLines(command, input string) (ours, theirs []string) {
	if command == "dd" {
		return []string{"dd", "if=" + input, "of=ours.raw"},
			[]string{"dd", "bs=1M", "if=" + input, "of=theirs.raw"}
	}
	return []string{"convert", "-O", "raw", input, "ours.raw"},
		[]string{"convert", "-W", "-O", "raw", input, "theirs.raw"}
}

// makeFileSystem makes an ext4 file system of diskSize with the tree of the Go
// distribution in it.
func makeFileSystem(t *testing.T, path string) {
	t.Helper()
	mke2fs := sbin(t, "mke2fs")
	goRoot := strings.TrimSpace(testutil.Run(t, "go", "env", "GOROOT"))
	testutil.Run(t, mke2fs, "-q", "-F", "-t", "ext4", "-d", goRoot, path, fmt.Sprintf("%dM", diskSize/mib))
}

// makeOverlays makes overlay1.qcow2 to overlayN.qcow2 in dir, each on top of
// the one before it, the first on base, and writes data and zeros to each in a
// hundred places.
func makeOverlays(t *testing.T, dir, base string, n int) {
	t.Helper()
	random := rand.New(rand.NewSource(3))
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("overlay%d.qcow2", i)
		program.MustRun(t, dir, nil, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", name)
		args := []string{"-f", "qcow2"}
		for range 100 {
			at, length := random.Int63n(diskSize-mib)&^511, (1+random.Int63n(600))*512
			if random.Intn(4) == 0 {
				args = append(args, "-c", fmt.Sprintf("write -z %d %d", at, length))
			} else {
				args = append(args, "-c", fmt.Sprintf("write -P %d %d %d", 1+random.Intn(255), at, length))
			}
		}
		program.MustRun(t, dir, nil, "qemu-io", append(args, name)...)
		base = name
	}
}

// sbin returns the path of a program of e2fsprogs, which an ordinary user's
// PATH may not have.
func sbin(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	return testutil.Require(t, name, "e2fsprogs")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
