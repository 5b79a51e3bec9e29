package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The inputs. All but those that say so have the content of raw.
const (
	rawImage     = "in.raw"
	quarterImage = "quarter.raw" // the first quarter of it
	halfImage    = "half.raw"    // every other MiB of it, holes between
	qcow2Image   = "in.qcow2"
	zlibImage    = "zlib.qcow2"
	zstdImage    = "zstd.qcow2"
	vmdkImage    = "in.vmdk"
	streamImage  = "stream.vmdk"
	vpcImage     = "in.vpc"
	vhdxImage    = "in.vhdx"
	chainImage   = "chain3.qcow2"  // three overlays on in.qcow2, a sixteenth of the size in each
	sparseImage  = "sparse.qcow2"  // 64 times as large, a tenth of it stored
	tinyImage    = "tiny.qcow2"    // for start-up
	stampFile    = "inputs.stamp"  // what the inputs were made from
	outputFile   = "out"           // what is measured writes here
	firstFile    = "out.reference" // the row's first output, to compare others with
)

// inputsVersion is counted up when the inputs change.
const inputsVersion = 2

// makeInputs makes the inputs in o.data unless they are there already.
func makeInputs(o options) error {
	stamp := fmt.Sprintf("%d %s %d\n", inputsVersion, o.tree, o.size)
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
	to := func(format, out string, options ...string) []string {
		return slices.Concat([]string{"qemu-img", "convert", "-f", "raw", "-O", format}, options, []string{rawImage, out})
	}
	commands := [][]string{
		to("qcow2", qcow2Image, "-S", "0"),
		to("qcow2", zlibImage, "-c", "-W", "-m", "16"),
		to("qcow2", zstdImage, "-c", "-W", "-m", "16", "-o", "compression_type=zstd"),
		to("vmdk", vmdkImage),
		to("vmdk", streamImage, "-o", "subformat=streamOptimized"),
		to("vpc", vpcImage, "-o", "force_size=on"),
		to("vhdx", vhdxImage),
		create(sparseImage, "-o", "preallocation=off", fmt.Sprint(64*o.size)),
		{"qemu-io", "-f", "qcow2", "-c", write(85, 32*o.size, stored/2), "-c", write(170, 0, stored/2), sparseImage},
		create(tinyImage, "1M"),
	}
	below := qcow2Image
	for i := range int64(3) {
		above := fmt.Sprintf("chain%d.qcow2", i+1)
		commands = append(commands, create(above, "-b", below, "-F", "qcow2"),
			[]string{"qemu-io", "-f", "qcow2", "-c", write(int(i)+1, i*o.size/5, o.size/16), above})
		below = above
	}
	for _, c := range commands {
		if err := command(o.data, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(o.data, stampFile), []byte(stamp), 0o644)
}

// create returns the command line that makes an empty qcow2 image.
func create(args ...string) []string {
	return append([]string{"qemu-img", "create", "-q", "-f", "qcow2"}, args...)
}

// write returns qemu-io's command that writes n bytes of a value.
func write(value int, at, n int64) string {
	return fmt.Sprintf("write -q -P %d %d %d", value, at&^511, n&^511)
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
	// A quarter more than the files, for what the file system needs itself.
	size := fmt.Sprintf("%dk", (used+used/4)/1024+16384)
	if err := command(o.data, tool("mke2fs"), "-q", "-F", "-t", "ext4", "-d", files, fsImage, size); err != nil {
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
	if err := repeat(from, filepath.Join(o.data, quarterImage), o.size/4); err != nil {
		return err
	}
	return makeHalf(o)
}

// makeHalf writes every other MiB of raw to a file of the same size.
func makeHalf(o options) error {
	const piece = 1 << 20
	from, err := os.Open(filepath.Join(o.data, rawImage))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(o.data, halfImage))
	if err != nil {
		return err
	}
	defer to.Close()
	p := make([]byte, piece)
	for at := int64(0); at < o.size; at += 2 * piece {
		n, err := from.ReadAt(p, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := to.WriteAt(p[:n], at); err != nil {
			return err
		}
	}
	return errors.Join(to.Truncate(o.size), to.Close())
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
