package mainjob

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"instar/internal/program"
	"instar/internal/testutil"
)

const (
	gib = 1 << 30
	tib = 1 << 40
)

// soon is how long may take what takes well under a second on an idle machine.
// What is asserted is that the cost does not follow the virtual size: work that
// did would take hours.
const soon = 20 * time.Second

func TestCostFollowsWhatIsStored(t *testing.T) {
	dir := t.TempDir()
	image(t, dir, "8T", "cluster_size=64k", "write -P 0xab 5T 64k")
	r := program.MustRun(t, dir, nil, program.Instar(), "convert", "-O", "raw", "in.qcow2", "out.raw")
	checkCost(t, r)
	info, err := os.Stat(filepath.Join(dir, "out.raw"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 8*tib {
		t.Errorf("the output has %d bytes, not 8 TiB", info.Size())
	}
	if allocated := info.Sys().(*syscall.Stat_t).Blocks * 512; allocated < 64<<10 || allocated > mib {
		t.Errorf("%d bytes of the output are allocated; 64 KiB are stored", allocated)
	}
	checkBytes(t, filepath.Join(dir, "out.raw"), 5*tib-1, "\x00\xab")
	checkBytes(t, filepath.Join(dir, "out.raw"), 5*tib+64<<10-1, "\xab\x00")
}

// Windows of an image as large as qcow2 images are, and of one with as many
// tables as there are at 512 bytes a cluster.
func TestMemoryDoesNotFollowTheVirtualSize(t *testing.T) {
	for _, c := range []struct {
		name, size, options, write string
		dd                         []string
		outSize, at                int64
	}{
		{"64 TiB", "64T", "cluster_size=2M", "write -P 0xab 40T 1M", []string{"bs=1G", "skip=40959", "count=40961"}, 2 * gib, gib},
		{"small clusters", "3G", "cluster_size=512", "write -P 0xab 2G 3M", []string{"bs=1M", "skip=2040", "count=2060"}, 20 * mib, 8 * mib},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			image(t, dir, c.size, c.options, c.write)
			r := program.MustRun(t, dir, nil, program.Instar(), append([]string{"dd", "if=in.qcow2", "of=out.raw"}, c.dd...)...)
			checkCost(t, r)
			info, err := os.Stat(filepath.Join(dir, "out.raw"))
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() != c.outSize {
				t.Errorf("the output has %d bytes, not %d", info.Size(), c.outSize)
			}
			checkBytes(t, filepath.Join(dir, "out.raw"), c.at-1, "\x00\xab")
		})
	}
}

// image makes in.qcow2 and has qemu-io write to it.
func image(t *testing.T, dir, size, options, write string) {
	t.Helper()
	program.MustRun(t, dir, nil, testutil.QemuImg(t), "create", "-q", "-f", "qcow2", "-o", options, "in.qcow2", size)
	program.MustRun(t, dir, nil, "qemu-io", "-f", "qcow2", "-c", write, "in.qcow2")
}

func checkCost(t *testing.T, r program.Result) {
	t.Helper()
	if r.Elapsed > soon {
		t.Errorf("took %v", r.Elapsed)
	}
	if used := r.Usage.Maxrss * 1024; used > mostMemory {
		t.Errorf("took %d MiB of memory", used/mib)
	}
}

// checkBytes compares what a file has at an offset.
func checkBytes(t *testing.T, path string, at int64, want string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, at); err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%q at %d, want %q", got, at, want)
	}
}
