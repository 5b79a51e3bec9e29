package differential

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/program"
)

// Persistent bitmaps go along with --bitmaps, but for broken ones.
func TestConvertCopiesBitmapsAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.create("bitmaps.qcow2", "4M")
		for _, options := range []string{"--add first", "--add -g 128k second"} {
			args := strings.Fields("bitmap " + options)
			program.MustRun(t, folder, nil, "qemu-img", append(args[:len(args)-1], "bitmaps.qcow2", args[len(args)-1])...)
		}
		program.MustRun(t, folder, nil, "qemu-io", "-c", "write 1M 300k", "bitmaps.qcow2")
		program.MustRun(t, folder, nil, "qemu-img", "bitmap", "--add", "--disable", "bitmaps.qcow2", "third")
		content, err := os.ReadFile(filepath.Join(folder, "bitmaps.qcow2"))
		if err != nil {
			t.Fatal(err)
		}
		// The first entry of the directory says that it is in use.
		at := strings.Index(string(content), "\x23\x85\x28\x75")
		directory := binary.BigEndian.Uint64(content[at+24:])
		content[directory+15] |= 1
		m.write("broken.qcow2", content)
	})
	for _, line := range []string{
		"--bitmaps -O qcow2 bitmaps.qcow2 out",
		"--bitmaps -O qcow2 -o cluster_size=4k bitmaps.qcow2 out",
		"--bitmaps -O qcow2 -o cluster_size=2M,extended_l2=on bitmaps.qcow2 out",
		"--bitmaps -O qcow2 -o compat=0.10 bitmaps.qcow2 out",
		"--bitmaps -O qcow2 pattern.qcow2 out",
		"--bitmaps -O qcow2 pattern.raw out",
		"--bitmaps -O qcow2 bitmaps.qcow2 bitmaps.qcow2 out",
		"--bitmaps -O vpc bitmaps.qcow2 out",
		"--bitmaps -O qcow2 broken.qcow2 out",
		"--bitmaps --skip-broken-bitmaps -O qcow2 broken.qcow2 out",
		"--skip-broken-bitmaps -O qcow2 broken.qcow2 out",
	} {
		w.compare(t, append([]string{"convert"}, strings.Fields(line)...)...)
	}
}
