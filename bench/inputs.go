package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The inputs. All but sparse and tiny have the content of raw.
const (
	rawImage     = "in.raw"
	quarterImage = "quarter.raw" // the first quarter of it
	qcow2Image   = "in.qcow2"
	zlibImage    = "zlib.qcow2"
	zstdImage    = "zstd.qcow2"
	chainImage   = "chain3.qcow2"  // three overlays on in.qcow2
	sparseImage  = "sparse.qcow2"  // 64 times as large, a tenth of it stored
	tinyImage    = "tiny.qcow2"    // for start-up
	stampFile    = "inputs.stamp"  // what the inputs were made from
	outputFile   = "out"           // what is measured writes here
	firstFile    = "out.reference" // the row's first output, to compare others with
)

// makeInputs makes the inputs in o.data unless they are there already.
func makeInputs(o options) error {
	stamp := fmt.Sprintf("%s %d\n", o.tree, o.size)
	if had, err := os.ReadFile(filepath.Join(o.data, stampFile)); err == nil && string(had) == stamp {
		return nil
	}
	if err := errors.Join(os.RemoveAll(o.data), os.MkdirAll(o.data, 0o755)); err != nil {
		return err
	}
	if err := makeRaw(o); err != nil {
		return err
	}
	stored := max(o.size/10, 64<<10)
	commands := [][]string{
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-S", "0", rawImage, qcow2Image},
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-W", "-m", "16", rawImage, zlibImage},
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-W", "-m", "16", "-o", "compression_type=zstd", rawImage, zstdImage},
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", qcow2Image, "-F", "qcow2", "chain1.qcow2"},
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", "chain1.qcow2", "-F", "qcow2", "chain2.qcow2"},
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", "chain2.qcow2", "-F", "qcow2", chainImage},
		{"qemu-img", "create", "-q", "-f", "qcow2", sparseImage, fmt.Sprint(64 * o.size)},
		{"qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -q -P 85 %d %d", 32*o.size, stored/2&^511), "-c", fmt.Sprintf("write -q -P 170 0 %d", stored/2&^511), sparseImage},
		{"qemu-img", "create", "-q", "-f", "qcow2", tinyImage, "1M"},
	}
	for _, c := range commands {
		if err := command(o.data, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(o.data, stampFile), []byte(stamp), 0o644)
}

// makeRaw makes a file system with files of o.tree in it, and from it an image
// of o.size: its beginning, or where it is shorter all of it repeatedly.
func makeRaw(o options) error {
	fsImage, files := filepath.Join(o.data, "fs.raw"), filepath.Join(o.data, "files")
	defer os.Remove(fsImage)
	defer os.RemoveAll(files)
	used, err := copyFiles(o.tree, files, o.size)
	if err != nil {
		return err
	}
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		mke2fs = "/usr/sbin/mke2fs"
	}
	// A quarter more than the files, for what the file system needs itself.
	size := fmt.Sprintf("%dk", (used+used/4)/1024+16384)
	if err := command(o.data, mke2fs, "-q", "-F", "-t", "ext4", "-d", files, fsImage, size); err != nil {
		return err
	}
	from, err := os.Open(fsImage)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := repeat(from, filepath.Join(o.data, rawImage), o.size); err != nil {
		return err
	}
	return repeat(from, filepath.Join(o.data, quarterImage), o.size/4)
}

// repeat writes a file of size bytes with the content of from, from its
// beginning and as often as it takes.
func repeat(from io.ReadSeeker, path string, size int64) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer to.Close()
	for size > 0 {
		if _, err := from.Seek(0, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyN(to, from, size)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		size -= n
	}
	return to.Close()
}

// copyFiles copies the regular files below tree, in the order of their names,
// until there are limit bytes of them. It returns how much space they need.
func copyFiles(tree, to string, limit int64) (int64, error) {
	var total int64
	err := filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case total >= limit:
			return filepath.SkipAll
		case !entry.Type().IsRegular():
			return nil
		}
		name, err := filepath.Rel(tree, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		n, err := copyFile(path, target)
		total += (n+4095)&^4095 + 256
		return err
	})
	return total, err
}

// copyFile copies one file and returns its size. It does so in small pieces: the
// memory of this process is the least that is seen of those that it starts.
func copyFile(path, target string) (int64, error) {
	from, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	to, err := os.Create(target)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(to, from)
	return n, errors.Join(err, to.Close())
}

// command runs a command that has to succeed.
func command(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
