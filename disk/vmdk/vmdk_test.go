package vmdk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/internal/testutil"
)

// content returns n bytes that do and do not compress.
func content(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, n)
	for k := range p {
		p[k] = byte(r.Uint32()) >> (k >> 11 & 7)
	}
	return p
}

func mustOpen(t *testing.T, image []byte, files ...disk.File) disk.Image {
	t.Helper()
	i, err := Format.Open(disktest.File(image), disk.OpenOptions{Files: files})
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

const grain = 16 * 512 // of the images made here

var embedded = text("monolithicSparse", `RW 1000 SPARSE "it.vmdk"`)

// sample is a disk of a last grain that is not whole, with two grains in one
// piece, two out of order, and one of zeros.
func sample() (x hosted, want []byte) {
	data := content(5*grain, 1)
	x = hosted{
		text: embedded, capacity: 1000, flags: flagZeroGrain, version: 2, data: data,
		table: map[int]uint32{1: dataAt, 2: dataAt + 16, 10: dataAt + 48, 9: dataAt + 32, 20: 1, 62: dataAt + 64},
	}
	want = make([]byte, 63*grain)
	copy(want[1*grain:], data[:2*grain])
	copy(want[10*grain:], data[3*grain:4*grain])
	copy(want[9*grain:], data[2*grain:3*grain])
	copy(want[62*grain:], data[4*grain:])
	return x, want[:1000*512]
}

// compressedSample is the sample with compressed grains.
func compressedSample(marked, footer bool) (x hosted, want []byte) {
	_, want = sample()
	x = hosted{
		text: strings.Replace(embedded, "monolithicSparse", "streamOptimized", 1), capacity: 1000,
		version: 3, deflate: true, footer: footer, table: map[int]uint32{},
	}
	if marked {
		x.flags = flagMarkers
	}
	for k := range 63 {
		g := want[k*grain : min(len(want), (k+1)*grain)]
		if len(bytes.Trim(g, "\x00")) == 0 {
			continue
		}
		x.table[k] = uint32(dataAt + len(x.data)/512)
		x.data = append(x.data, compressGrain(g, uint64(k*16), marked)...)
	}
	return x, want
}

func TestConformance(t *testing.T) {
	x, want := sample()
	t.Run("sparse", func(t *testing.T) {
		disktest.Run(t, disktest.Config{Format: Format, Image: x.image(), Want: want})
	})
	t.Run("small tables", func(t *testing.T) {
		x := x
		x.perTable = 8
		disktest.Run(t, disktest.Config{Format: Format, Image: x.image(), Want: want})
	})
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("compressed, markers %v", marked), func(t *testing.T) {
			x, want := compressedSample(marked, marked)
			disktest.Run(t, disktest.Config{Format: Format, Image: x.image(), Want: want})
		})
	}
	t.Run("extents", func(t *testing.T) {
		image, files, want := split(t)
		disktest.Run(t, disktest.Config{Format: Format, Image: image, Want: want, Options: disk.OpenOptions{Files: files}})
	})
}

// split is a disk with an extent of each kind.
func split(t testing.TB) (image []byte, files []disk.File, want []byte) {
	t.Helper()
	flat, data := content(100<<10, 2), content(6*grain, 3)
	x, sparse := sample()
	old := esx(1600, map[int]uint32{0: dataAt + 16, 99: dataAt}, data, nil)
	const seSectors = 4096
	seData := content(2<<12, 4)
	seFile := se(seSectors, map[int]uint64{1: seGrain(1), 2: seGrain(0), 3: 1 << 60, 4: 2 << 60}, seData, nil)

	image = []byte(text("vmfs", strings.Join([]string{
		`RW 100 FLAT "flat" 8`,
		`RW 1000 SPARSE "hosted"`,
		`RW 20 ZERO`,
		`RW 1600 VMFSSPARSE "esx"`,
		`RDONLY 4096	SESPARSE   "se"`,
		`RW 50 VMFS "flat"`,
		`RW 300 FLAT "flat" 100`,
		`RW 0 FLAT "nothing" 0`,
	}, "\r\n")))
	files = []disk.File{disktest.File(flat), disktest.File(x.image()), disktest.File(old), disktest.File(seFile)}

	oldWant := make([]byte, 1600*512)
	copy(oldWant, data[grain:2*grain])
	copy(oldWant[99*grain:], data[:grain])
	seWant := make([]byte, seSectors*512)
	copy(seWant[1<<12:], seData[1<<12:])
	copy(seWant[2<<12:], seData[:1<<12])
	long := append(bytes.Clone(flat), make([]byte, 200<<10)...) // a file that ends early
	want = bytes.Join([][]byte{
		flat[8*512:][:100*512], sparse, make([]byte, 20*512), oldWant, seWant, flat[:50*512], long[100*512:][:300*512],
	}, nil)
	return image, files, want
}

func TestAgainstQemuImg(t *testing.T) {
	qemuImg, qemuIO := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	source := filepath.Join(t.TempDir(), "source.raw")
	p := make([]byte, 5<<20+512)
	copy(p[70<<10:], content(200<<10, 5))
	copy(p[2<<20+100:], content(1<<20, 6))
	copy(p[len(p)-1000:], content(1000, 7))
	if err := os.WriteFile(source, p, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{
		"subformat=monolithicSparse", "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse",
		"subformat=twoGbMaxExtentFlat", "subformat=streamOptimized", "subformat=monolithicSparse,zeroed_grain=on",
		"subformat=monolithicSparse,compat6=on", "subformat=streamOptimized,adapter_type=lsilogic",
	} {
		t.Run(options, func(t *testing.T) {
			dir := t.TempDir()
			image, back := filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "back.raw")
			testutil.Run(t, qemuImg, "convert", "-O", "vmdk", "-o", options, source, image)
			if strings.Contains(options, "zeroed_grain") {
				testutil.Run(t, qemuIO, "-c", "write -z 2M 256k", image)
			}
			testutil.Run(t, qemuImg, "convert", "-O", "raw", image, back)
			i := openInFolder(t, image)
			want, err := os.ReadFile(back)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(all(t, i), want) {
				t.Error("content differs")
			}
			checkInfo(t, i, testutil.Run(t, qemuImg, "info", "--output=json", image))
		})
	}
}

// openInFolder opens an image with the extents beside it.
func openInFolder(t *testing.T, name string) disk.Image {
	t.Helper()
	read := func(name string) disk.File {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return disktest.File(p)
	}
	i, err := Format.Open(read(name), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var o disk.OpenOptions
	for _, r := range i.Info().References {
		if r.Kind == disk.ExtentFile {
			o.Files = append(o.Files, read(filepath.Join(filepath.Dir(name), r.Name())))
		}
	}
	if i, err = Format.Open(read(name), o); err != nil {
		t.Fatal(err)
	}
	return i
}

// checkInfo compares a description with qemu-img's.
func checkInfo(t *testing.T, i disk.Image, output string) {
	t.Helper()
	var want struct {
		VirtualSize int64 `json:"virtual-size"`
		ClusterSize int64 `json:"cluster-size"`
		Specific    struct {
			Data map[string]any
		} `json:"format-specific"`
	}
	decode(t, output, &want)
	info := i.Info()
	if info.VirtualSize != want.VirtualSize || info.ClusterSize != want.ClusterSize {
		t.Errorf("sizes %d, %d; want %d, %d", info.VirtualSize, info.ClusterSize, want.VirtualSize, want.ClusterSize)
	}
	if diff := cmp.Diff(any(want.Specific.Data), plain(info.Details)); diff != "" {
		t.Error(diff)
	}
}
