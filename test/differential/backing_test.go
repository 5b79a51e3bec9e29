package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/program"
)

// With -B what the input leaves to what it stands on is left out of the output.
func TestConvertOntoABackingFileAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.create("base.qcow2", "1M")
		program.MustRun(t, folder, nil, "qemu-io", "-c", "write -P 1 0 256k", "base.qcow2")
		m.overlay("top.qcow2", "base.qcow2", "qcow2", "2M")
		program.MustRun(t, folder, nil, "qemu-io", "-c", "write -P 2 128k 64k", "-c", "write -z 192k 64k", "-c", "write -P 3 1500k 64k", "top.qcow2")
		if err := os.Mkdir(filepath.Join(folder, "folder"), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	for _, line := range []string{
		"-B base.qcow2 -F qcow2 -O qcow2 top.qcow2 out",
		"-B base.qcow2 -F raw -O qcow2 top.qcow2 out",
		"-B text.raw -F raw -O qcow2 top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O qcow2 -o compat=0.10 top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O qcow2 -o cluster_size=2M top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O qcow2 -o cluster_size=4k top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O qcow2 -o extended_l2=on top.qcow2 out",
		"-B pattern.raw -F raw -O qcow2 text.raw out",
		"-o backing_file=base.qcow2,backing_fmt=qcow2 -O qcow2 top.qcow2 out",
		"-B base.qcow2 -O qcow2 top.qcow2 out",
		"-F qcow2 -O qcow2 top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O qcow2 top.qcow2 text.raw out",
		"-B base.qcow2 -O qcow2 top.qcow2 text.raw out",
		"-B nope -F qcow2 -O qcow2 top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O qcow2 top.qcow2 folder/out",
		"-B text.raw -F qcow2 -O qcow2 top.qcow2 out",
		"-B base.qcow2 -F bogus -O qcow2 top.qcow2 out",
		"-o backing_file=base.qcow2 -O qcow2 top.qcow2 out",
		"-o backing_fmt=qcow2 -O qcow2 top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O raw top.qcow2 out",
		"-B base.qcow2 -F qcow2 -O vpc top.qcow2 out",
		"-F qcow2 -O vpc top.qcow2 out",
	} {
		w.compare(t, append([]string{"convert"}, strings.Fields(line)...)...)
	}
}
