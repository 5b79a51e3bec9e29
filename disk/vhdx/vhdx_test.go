package vhdx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/internal/testutil"
)

func content(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, n)
	for k := range p {
		p[k] = byte(r.Uint32())
	}
	return p
}

func mustOpen(t *testing.T, image []byte) disk.Image {
	t.Helper()
	i, err := Format.Open(disktest.File(image), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func all(t *testing.T, d disk.Disk) []byte {
	t.Helper()
	p := make([]byte, d.Size())
	if n, err := d.ReadAt(p, 0); n != len(p) {
		t.Fatalf("read %d of %d bytes: %v", n, len(p), err)
	}
	return p
}

// sample is a disk of four blocks and a little more, with two of them stored
// out of order, and the others in states that read as zeros.
func sample() (x builder, want []byte) {
	data := content(2<<20, 1)
	x = builder{
		size: 4<<20 + 512, data: data,
		bat: map[int]uint64{0: present(5), 1: blockZero, 2: present(4), 3: blockUnmapped, 4: blockUndefined},
	}
	want = make([]byte, x.size)
	copy(want, data[1<<20:])
	copy(want[2<<20:], data[:1<<20])
	return x, want
}

// differencing is a disk of three blocks over a parent: one is stored, one in
// part, one not.
func differencing(sector uint32) (x builder, want []byte) {
	data := content(2<<20, 2)
	bitmap := make([]byte, 1<<20)
	for k := range 1 << 20 / int(sector) {
		if k%3 == 0 || k > 1000 {
			bitmap[(1<<20/int(sector)+k)/8] |= 1 << (k % 8)
		}
	}
	ratio := int(chunkSectors * uint64(sector) / (1 << 20))
	x = builder{
		size: 3 << 20, sector: sector, data: append(data, bitmap...),
		bat:    map[int]uint64{0: present(4), 1: 5<<20 | blockPartiallyPresent, ratio: 6<<20 | bitmapPresent},
		parent: map[string]string{"relative_path": `.\base.vhdx`, "parent_linkage": "{0DD0E5E5-0000-1111-2222-333344445555}"},
	}
	want = make([]byte, x.size)
	copy(want, data[:1<<20])
	for k := range 1 << 20 / int(sector) {
		if k%3 == 0 || k > 1000 {
			at := 1<<20 + k*int(sector)
			copy(want[at:], data[at:][:sector])
		}
	}
	return x, want
}

// dirty is the sample with a log: the BAT, and a page of content, are in it.
func dirty() (x builder, want []byte) {
	x, want = sample()
	bat := make([]byte, logUnit)
	for k, v := range x.bat {
		binary.LittleEndian.PutUint64(bat[8*k:], v)
	}
	x.bat = map[int]uint64{0: blockZero, 3: 7}
	page := content(logUnit, 9)
	x.logID = logID
	end := uint64(dataAt + len(x.data))
	x.log = [][]byte{
		entry(7, 0, end, change{at: batAt, page: page}, change{at: dataAt, page: page}),
		entry(8, 0, end, change{at: batAt, page: bat}, change{at: dataAt + 1<<20, zeros: 3 * logUnit}, change{at: dataAt + 1<<20, page: page}),
	}
	copy(want[2<<20:], page)
	clear(want[:3*logUnit])
	copy(want, page)
	return x, want
}

func TestConformance(t *testing.T) {
	for name, make := range map[string]func() (builder, []byte){
		"dynamic": sample,
		"large sectors": func() (builder, []byte) {
			x, want := sample()
			x.sector, x.size = 4096, 4<<20
			return x, want[:4<<20]
		},
		"differencing":                func() (builder, []byte) { return differencing(512) },
		"differencing, large sectors": func() (builder, []byte) { return differencing(4096) },
		"dirty":                       dirty,
	} {
		t.Run(name, func(t *testing.T) {
			x, want := make()
			disktest.Run(t, disktest.Config{Format: Format, Image: x.image(), Want: want})
		})
	}
}

func TestAgainstQemuImg(t *testing.T) {
	qemuImg, qemuIO := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	dir := t.TempDir()
	source := filepath.Join(dir, "source.raw")
	p := make([]byte, 20<<20+512)
	copy(p[1<<20+100:], content(1<<20, 3))
	copy(p[len(p)-1000:], content(1000, 4))
	if err := os.WriteFile(source, p, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{
		"subformat=dynamic", "subformat=fixed", "block_size=1M", "block_size=16M", "block_size=2M,block_state_zero=off",
		"block_size=1M,log_size=4M", "subformat=fixed,block_size=4M",
	} {
		t.Run(options, func(t *testing.T) {
			image, back := filepath.Join(dir, "disk.vhdx"), filepath.Join(dir, "back.raw")
			testutil.Run(t, qemuImg, "convert", "-O", "vhdx", "-o", options, source, image)
			testutil.Run(t, qemuIO, "-c", "write -P 5 9M 300k", image)
			testutil.Run(t, qemuImg, "convert", "-O", "raw", image, back)
			got, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(back)
			if err != nil {
				t.Fatal(err)
			}
			i := mustOpen(t, got)
			if !bytes.Equal(all(t, i), want) {
				t.Error("content differs")
			}
			if info := testutil.Run(t, qemuImg, "info", image); !strings.Contains(info, fmt.Sprintf("cluster_size: %d\n", i.Info().ClusterSize)) {
				t.Errorf("cluster size %d:\n%s", i.Info().ClusterSize, info)
			}
			if i.Info().Dirty {
				t.Error("dirty")
			}
		})
	}
}

// qemu-img, once it may write, replays the log that is replayed here in memory.
func TestReplayAgainstQemuImg(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	x, want := dirty()
	dir := t.TempDir()
	image, back := filepath.Join(dir, "disk.vhdx"), filepath.Join(dir, "back.raw")
	if err := os.WriteFile(image, x.image(), 0o600); err != nil {
		t.Fatal(err)
	}
	testutil.Run(t, qemuImg, "check", "-r", "all", image)
	testutil.Run(t, qemuImg, "convert", "-O", "raw", image, back)
	got, err := os.ReadFile(back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("content differs from what qemu-img makes of it")
	}
}
