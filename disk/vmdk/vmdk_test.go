package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// What qemu-img says to damaged images is what is said here, where it is clear.
func TestRefusalsOfSparse(t *testing.T) {
	le := binary.LittleEndian
	for _, test := range []struct {
		name   string
		change func(h []byte)
		want   string
	}{
		{"version", func(h []byte) { le.PutUint32(h[4:], 4) }, "Unsupported VMDK version 4"},
		{"table of 513", func(h []byte) { le.PutUint32(h[44:], 513) }, "L2 table size too big"},
		{"table of 0", func(h []byte) { le.PutUint32(h[44:], 0) }, "L1 entry size is invalid"},
		{"grain of 0", func(h []byte) { le.PutUint64(h[20:], 0) }, "L1 entry size is invalid"},
		{"grain above 1 GiB", func(h []byte) { le.PutUint64(h[20:], 0x200001) }, "Invalid granularity, image may be corrupt"},
		{"grain that overflows", func(h []byte) { le.PutUint64(h[20:], 1<<55) }, "Invalid granularity, image may be corrupt"},
		{"most of a capacity", func(h []byte) { le.PutUint64(h[12:], 1<<63) }, "Could not refresh total sector count: File too large"},
		{"capacity of many tables", func(h []byte) { le.PutUint64(h[12:], 1<<50) }, "L1 size too big"},
		{"cut short", func(h []byte) { le.PutUint64(h[64:], 10000) }, "File truncated, expecting at least 5120000 bytes"},
		{"cut very short", func(h []byte) { le.PutUint64(h[64:], 1<<63) }, fmt.Sprintf("File truncated, expecting at least %d bytes", int64(maxSectors)*512)},
		{"directory far away", func(h []byte) { le.PutUint64(h[56:], 1<<62) }, "Could not read l1 table"},
		{"compression", func(h []byte) { h[77] = 2 }, "Unsupported compression algorithm 2"},
		{"large compressed grains", func(h []byte) { h[77] = 1; le.PutUint64(h[20:], 16384) }, "Unsupported compressed grains of 16384 sectors"},
		{"descriptor elsewhere", func(h []byte) { le.PutUint64(h[28:], 2) }, "Unsupported image: sparse extent of capacity 1000 with a descriptor at sector 2"},
		{"no capacity", func(h []byte) { le.PutUint64(h[12:], 0) }, "Unsupported image: sparse extent of capacity 0 with a descriptor at sector 1"},
		{"footer missing", func(h []byte) { le.PutUint64(h[56:], directoryAtEnd) }, "Invalid footer"},
	} {
		x, _ := sample()
		x.change = test.change
		checkRefused(t, test.name, x.image(), test.want)
	}
	x, _ := sample()
	x.text = ""
	checkRefused(t, "no descriptor", x.image(), "invalid VMDK image descriptor: no valid CID")
	x.text = strings.Replace(embedded, "0badcafe", "xyz", 1)
	checkRefused(t, "bad CID", x.image(), "invalid VMDK image descriptor: no valid CID")
	x.text = strings.Replace(embedded, "parentCID=ffffffff", "", 1)
	checkRefused(t, "no parent CID", x.image(), "invalid VMDK image descriptor: no valid parentCID")
	x.text = "parentFileNameHint=\"" + strings.Repeat("a", 1024) + "\"\n" + embedded
	checkRefused(t, "long parent", x.image(), "invalid VMDK image descriptor: name of the parent too long")
	checkRefused(t, "magic alone", []byte(magicHosted), "L1 entry size is invalid")
	checkRefused(t, "older magic alone", []byte(magicESX), "Invalid granularity, image may be corrupt")
	head := make([]byte, 512)
	x.change = func(h []byte) { le.PutUint64(h[64:], 1) }
	copy(head, x.image())
	le.PutUint64(head[56:], directoryAtEnd)
	checkRefused(t, "no room for a footer", head, "Failed to read footer")
}

func TestRefusalsOfDescriptors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "File is too small, not a valid image"},
		{"another text", "hello world\n", "invalid VMDK image descriptor"},
		{"no type", "version=1\nCID=1\nparentCID=2\nRW 5 FLAT \"f\" 0\n", "invalid VMDK image descriptor"},
		{"a sparse disk without an extent", text("monolithicSparse", `RW 5 FLAT "f" 0`), "Unsupported image type 'monolithicSparse'"},
		{"a device", text("fullDevice", `RW 5 FLAT "/dev/sda" 0`), "Unsupported image type 'fullDevice'"},
		{"no extents", text("monolithicFlat", ""), "invalid VMDK image descriptor: no extents"},
		{"an extent of nothing", text("monolithicFlat", `RW 0 FLAT "f" 0`), "invalid VMDK image descriptor: no extents"},
		{"extents behind a NUL", text("monolithicFlat", "\x00RW 5 FLAT \"f\" 0"), "invalid VMDK image descriptor: no extents"},
		{"no offset", text("monolithicFlat", `RW 5 FLAT "f"`), `Invalid extent line: RW 5 FLAT "f"`},
		{"negative offset", text("monolithicFlat", `RW 5 FLAT "f" -1`), `Invalid extent line: RW 5 FLAT "f" -1`},
		{"an offset too many", text("vmfs", `RW 5 VMFS "f" 0`), `Invalid extent line: RW 5 VMFS "f" 0`},
		{"negative size", text("monolithicFlat", `RW -5 FLAT "f" 0`), `Invalid extent line: RW -5 FLAT "f" 0`},
		{"no size", text("monolithicFlat", `RW FLAT "f" 0`), `Invalid extent line: RW FLAT "f" 0`},
		{"no name", text("monolithicFlat", `RW 5 FLAT "" 0`), `Invalid extent line: RW 5 FLAT "" 0`},
		{"name without an end", text("monolithicFlat", `RW 5 FLAT "f 0`), `Invalid extent line: RW 5 FLAT "f 0`},
		{"name without quotes", text("monolithicFlat", `RW 5 FLAT f 0`), `Invalid extent line: RW 5 FLAT f 0`},
		{"nothing but access", text("monolithicFlat", `RW`), `Invalid extent line: RW`},
		{"other type", text("monolithicFlat", `RW 5 FOO "f" 0`), "Unsupported extent type 'FOO'"},
		{"no access", text("monolithicFlat", `NOACCESS 5 FLAT "f" 0`), "Unsupported extent access 'NOACCESS'"},
		{"size that overflows", text("monolithicFlat", `RW 9223372036854775807 FLAT "f" 0`), "Could not refresh total sector count: File too large"},
		{"offset that overflows", text("monolithicFlat", `RW 5 FLAT "f" 9223372036854775807`), "Could not refresh total sector count: File too large"},
		{"sizes that overflow", text("monolithicFlat", strings.Repeat("RW 9007199254740992 ZERO\n", 3)), "Could not refresh total sector count: File too large"},
		{"a flood of extents", text("monolithicFlat", strings.Repeat("RW 1 ZERO\n", maxExtents+1)), "more than 2048 extents"},
	} {
		checkRefused(t, test.name, []byte(test.text), test.want)
	}
	line := `RW 5 FLAT "` + strings.Repeat("n", 512) + `" 0`
	checkRefused(t, "long name", []byte(text("monolithicFlat", line)), "Invalid extent line: "+line)
}

func TestRefusalsOfExtents(t *testing.T) {
	le := binary.LittleEndian
	put := func(field int, v uint64) func([]byte) { return func(b []byte) { le.PutUint64(b[8*field:], v) } }
	seFile := func(change func([]byte)) []byte { return se(4096, nil, nil, change) }
	x, _ := sample()
	for _, test := range []struct {
		name, line string
		file       []byte
		want       string
	}{
		{"no extent", `RW 1000 SPARSE "f"`, make([]byte, 4096), "Image not in VMDK format"},
		{"a descriptor", `RW 1000 SPARSE "f"`, []byte(text("vmfs", `RW 5 VMFS "f"`)), "Image not in VMDK format"},
		{"another size", `RW 1001 SPARSE "f"`, x.image(), `extent "f" has 1000 sectors, the descriptor says 1001`},
		{"a trap", `RW 1000 SPARSE "f"`, hosted{}.image(), "Unsupported image: sparse extent of capacity 0 with a descriptor at sector 1"},
		{"older, grain of 0", `RW 1600 VMFSSPARSE "f"`, esx(1600, nil, nil, func(b []byte) { le.PutUint32(b[16:], 0) }), "Invalid granularity, image may be corrupt"},
		{"older, small directory", `RW 1600 VMFSSPARSE "f"`, esx(1600, nil, nil, func(b []byte) { le.PutUint32(b[24:], 0) }), "L1 table too small"},
		{"older, large directory", `RW 1600 VMFSSPARSE "f"`, esx(1600, nil, nil, func(b []byte) { le.PutUint32(b[24:], 1<<31) }), "L1 size too big"},
		{"se, magic", `RW 4096 SESPARSE "f"`, seFile(put(0, 1)), "Bad const header magic: 0x0000000000000001"},
		{"se, version", `RW 4096 SESPARSE "f"`, seFile(put(1, 1)), "Unsupported version: 0x0000000000000001"},
		{"se, grain", `RW 4096 SESPARSE "f"`, seFile(put(3, 16)), "Unsupported grain size: 16"},
		{"se, table", `RW 4096 SESPARSE "f"`, seFile(put(4, 32)), "Unsupported grain table size: 32"},
		{"se, flags", `RW 4096 SESPARSE "f"`, seFile(put(5, 1)), "Unsupported flags: 0x0000000000000001"},
		{"se, reserved", `RW 4096 SESPARSE "f"`, seFile(put(9, 1)), "Unsupported reserved bits: 0x0000000000000000 0x0000000000000000 0x0000000000000000 0x0000000000000001"},
		{"se, padding", `RW 4096 SESPARSE "f"`, seFile(put(63, 1)), "Unsupported non-zero const header padding"},
		{"se, volatile header far away", `RW 4096 SESPARSE "f"`, seFile(put(10, 1<<63)), "Bad volatile header offset: 9223372036854775808"},
		{"se, volatile magic", `RW 4096 SESPARSE "f"`, seFile(put(64, 1)), "Bad volatile header magic: 0x0000000000000001"},
		{"se, dirty", `RW 4096 SESPARSE "f"`, seFile(put(67, 1)), "Image is dirty, Replaying journal not supported"},
		{"se, volatile padding", `RW 4096 SESPARSE "f"`, seFile(put(127, 1)), "Unsupported non-zero volatile header padding"},
		{"se, small directory", `RW 4096 SESPARSE "f"`, seFile(put(17, 0)), "L1 table too small"},
		{"se, large directory", `RW 4096 SESPARSE "f"`, seFile(put(17, 1<<60)), "L1 size too big"},
		{"se, directory far away", `RW 4096 SESPARSE "f"`, seFile(put(16, 1<<62)), "Could not read l1 table"},
	} {
		checkRefused(t, test.name, []byte(text("vmfs", test.line)), test.want, disktest.File(test.file))
	}
}

func checkRefused(t *testing.T, name string, image []byte, want string, files ...disk.File) {
	t.Helper()
	_, err := Format.Open(disktest.File(image), disk.OpenOptions{Files: files})
	var format *disk.FormatError
	var unsupported *disk.UnsupportedError
	if err == nil || err.Error() != want || (!errors.As(err, &format) && !errors.As(err, &unsupported)) {
		t.Errorf("%s: %v; want %q", name, err, want)
	}
}

// Table entries that cannot be trusted are errors when they are used.
func TestBadEntries(t *testing.T) {
	open := func(change func(b []byte)) disk.Image {
		image := []byte(text("seSparse", `RW 4096 SESPARSE "f"`))
		return mustOpen(t, image, disktest.File(se(4096, map[int]uint64{0: seGrain(0), 3: seGrain(0)}, nil, change)))
	}
	put := func(at int, v uint64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
	}
	for name, change := range map[string]func(b []byte){
		"directory state":   put(4*512, 2<<60),
		"directory number":  put(4*512, seTableAllocated<<32|0xffffffff),
		"grain state":       put(8*512, 4<<60),
		"unallocated grain": put(8*512, 5),
		"grain number":      put(8*512, 3<<60|1<<48-1),
		"start of tables":   put(8*18, 1<<40),
		"start of grains":   put(8*24, 1<<63),
	} {
		var format *disk.FormatError
		if _, err := open(change).Extent(100, 100); !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A run ends before an entry that is bad.
	if e, err := open(put(8*512+8*2, 5)).Extent(4096, 1<<20); err != nil || e.Length != 4096 {
		t.Errorf("run before a bad entry: %+v, %v", e, err)
	}
}

// The length of a compressed grain is bounded by what could be there, and by
// what is (CVE-2026-2243).
func TestCompressedGrainLength(t *testing.T) {
	for name, change := range map[string]func(marker []byte){
		"zero":             func(m []byte) { binary.LittleEndian.PutUint32(m[8:], 0) },
		"two grains":       func(m []byte) { binary.LittleEndian.PutUint32(m[8:], 2*grain) },
		"most":             func(m []byte) { binary.LittleEndian.PutUint32(m[8:], 0xffffffff) },
		"beyond the file":  func(m []byte) { binary.LittleEndian.PutUint32(m[8:], 2*grain-markerSize) },
		"less than needed": func(m []byte) { binary.LittleEndian.PutUint32(m[8:], 20) },
		"no zlib":          func(m []byte) { m[markerSize] = 0xff },
		"damaged":          func(m []byte) { m[markerSize+50] ^= 0xff },
	} {
		g := content(grain, 9)
		x := hosted{text: embedded, capacity: 16, deflate: true, flags: flagMarkers, table: map[int]uint32{0: dataAt}}
		x.data = compressGrain(g, 0, true)
		if got := all(t, mustOpen(t, x.image())); !bytes.Equal(got, g) {
			t.Fatal("content differs")
		}
		change(x.data)
		var format *disk.FormatError
		if n, err := mustOpen(t, x.image()).ReadAt(make([]byte, 10), 0); n != 0 || !errors.As(err, &format) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	// One that is not there at all, and one that is cut off in its marker.
	for _, length := range []int{dataAt * 512, dataAt*512 + 7} {
		x := hosted{text: embedded, capacity: 16, deflate: true, flags: flagMarkers, table: map[int]uint32{0: dataAt}}
		image := append(x.image(), make([]byte, 7)...)[:length]
		var format *disk.FormatError
		if _, err := mustOpen(t, image).ReadAt(make([]byte, 10), 0); !errors.As(err, &format) {
			t.Errorf("file of %d bytes: %v", length, err)
		}
	}
}

// A grain may take more room compressed than it has.
func TestIncompressibleGrain(t *testing.T) {
	g := make([]byte, 4*grain)
	r := rand.New(rand.NewPCG(1, 1))
	for k := range g {
		g[k] = byte(r.Uint32())
	}
	x := hosted{text: embedded, capacity: 64, deflate: true, flags: flagMarkers, table: map[int]uint32{}}
	for k := range 4 {
		x.table[k] = uint32(dataAt + len(x.data)/512)
		x.data = append(x.data, compressGrain(g[k*grain:][:grain], 0, true)...)
	}
	if !bytes.Equal(all(t, mustOpen(t, x.image())), g) {
		t.Error("content differs")
	}
}

// The layout of what counts: with a footer, the header's place of the tables
// and all else in it does not.
func TestFooterCounts(t *testing.T) {
	x, want := compressedSample(true, true)
	image := x.image()
	binary.LittleEndian.PutUint64(image[12:], 5000)
	binary.LittleEndian.PutUint64(image[20:], 128)
	if !bytes.Equal(all(t, mustOpen(t, image)), want) {
		t.Error("content differs")
	}
}

func TestEntryOfOneIsDataWithoutTheFlag(t *testing.T) {
	x, _ := sample()
	x.flags = 0
	e, err := mustOpen(t, x.image()).Extent(20*grain, grain)
	if err != nil || e.Kind != disk.Data || e.Offset != 512 {
		t.Errorf("%+v, %v", e, err)
	}
}

// A huge disk that stores nothing is one extent, or a few.
func TestHugeEmptyDisk(t *testing.T) {
	x := hosted{text: embedded, capacity: 1 << 41, grain: 128} // 1 PiB
	i := mustOpen(t, x.image())
	if e, err := i.Extent(1<<30, 1<<60); err != nil || e.Kind != disk.Unallocated || e.End() != 1<<50 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestReferences(t *testing.T) {
	image, files, _ := split(t)
	i := mustOpen(t, image)
	want := []disk.Reference{
		{Kind: disk.ExtentFile, Names: []string{"flat"}},
		{Kind: disk.ExtentFile, Names: []string{"hosted"}},
		{Kind: disk.ExtentFile, Names: []string{"esx"}},
		{Kind: disk.ExtentFile, Names: []string{"se"}},
	}
	if diff := cmp.Diff(want, i.Info().References); diff != "" {
		t.Error(diff)
	}
	if i.Info().Identity != "0badcafe" {
		t.Errorf("identity %s", i.Info().Identity)
	}
	// Without its files, the size is known and the content is not.
	if got, want := i.Size(), mustOpen(t, image, files...).Size(); got != want {
		t.Errorf("size %d without files, %d with them", got, want)
	}
	var missing *disk.MissingReferenceError
	if _, err := i.ReadAt(make([]byte, 1), 0); !errors.As(err, &missing) || missing.Reference.Name() != "flat" {
		t.Errorf("%v", err)
	}
	if _, err := mustOpen(t, image, files[0]).ReadAt(make([]byte, 1<<20), 0); !errors.As(err, &missing) || missing.Reference.Name() != "hosted" {
		t.Errorf("%v", err)
	}
	// What is zeros needs no file.
	if _, err := i.ReadAt(make([]byte, 20*512), 1100*512); err != nil {
		t.Error(err)
	}
}

func TestParent(t *testing.T) {
	for hint, want := range map[string][]string{
		"base.vmdk":              {"base.vmdk"},
		"/etc/passwd":            {"/etc/passwd"},
		"json:{}":                {"json:{}"},
		`C:\vm\base.vmdk`:        {"base.vmdk", `C:\vm\base.vmdk`},
		`..\base\base.vmdk`:      {"../base/base.vmdk"},
		"/vmfs/volumes/a/b.vmdk": {"/vmfs/volumes/a/b.vmdk"},
	} {
		x, own := sample()
		x.text = text("monolithicSparse", "", `parentFileNameHint="`+hint+`"`)
		x.text = strings.Replace(x.text, "parentCID=ffffffff", "parentCID=DEADbeef", 1)
		child := mustOpen(t, x.image())
		r := []disk.Reference{{Kind: disk.BackingFile, Names: want, Format: "vmdk", Identity: "deadbeef"}}
		if diff := cmp.Diff(r, child.Info().References); diff != "" {
			t.Error(diff)
		}
		below := content(len(own), 20)
		base := hosted{text: embedded, capacity: 1000, table: map[int]uint32{}, data: below}
		for k := range 63 {
			base.table[k] = uint32(dataAt + 16*k)
		}
		got := all(t, disk.Chain(child, mustOpen(t, base.image())))
		for k := range 63 {
			from := below
			if k == 1 || k == 2 || k == 9 || k == 10 || k == 20 || k == 62 {
				from = own
			}
			if g := got[k*grain : min(len(got), (k+1)*grain)]; !bytes.Equal(g, from[k*grain:][:len(g)]) {
				t.Fatalf("grain %d differs", k)
			}
		}
	}
}

// A parent may stand in a descriptor that is a file, too, and comes after the
// extents.
func TestParentOfDescriptorFile(t *testing.T) {
	image := text("vmfsSparse", `RW 1600 VMFSSPARSE "delta"`, `parentFileNameHint="base.vmdk"`)
	r := mustOpen(t, []byte(image)).Info().References
	if len(r) != 2 || r[0].Kind != disk.ExtentFile || r[1].Kind != disk.BackingFile || r[1].Name() != "base.vmdk" {
		t.Errorf("%+v", r)
	}
}

// Fields count where they begin a line, and the first time.
func TestFields(t *testing.T) {
	x, _ := sample()
	x.text = "#CID=1\n  CID = 0000abcd \r\nCID=2\nparentCID=\"ffffffff\"\n# parentFileNameHint=\"/etc/passwd\"\n\x00parentFileNameHint=\"/etc/shadow\"\n"
	info := mustOpen(t, x.image()).Info()
	if info.Identity != "0000abcd" || len(info.References) != 0 {
		t.Errorf("%+v", info)
	}
}

func TestProbe(t *testing.T) {
	for head, want := range map[string]int{
		"KDMV": 100, "COWD": 100, "KDM": 0, "": 0, "\n": 0, "version": 0,
		"version=1\n": 100, "version=2\r\n": 100, "version=3\n": 100, "version=4\n": 0, "version=1": 0, "version=1 \n": 0,
		"# Disk DescriptorFile\nversion=1\n": 100, "#\n#\r\n   \n \r\nversion=3\r\n": 100, "\nversion=1\n": 0,
		" version=1\n": 0, "hello\nversion=1\n": 0, "# comment without an end": 0, "QFI\xfbversion=1\n": 0,
		"version=1\nanything": 100, " ": 0, "#": 0,
	} {
		if got := probe([]byte(head)); got != want {
			t.Errorf("probe(%q) = %d", head, got)
		}
	}
}

// The table caches of a disk of many extents are few.
func TestManyExtents(t *testing.T) {
	x, want := sample()
	one := x.image()
	var lines []string
	var files []disk.File
	for k := range 40 {
		lines = append(lines, fmt.Sprintf(`RW 1000 SPARSE "s%d"`, k))
		files = append(files, disktest.File(one))
	}
	i := mustOpen(t, []byte(text("twoGbMaxExtentSparse", strings.Join(lines, "\n"))), files...)
	if !bytes.Equal(all(t, i), bytes.Repeat(want, 40)) {
		t.Error("content differs")
	}
	c := &i.(*image).caches
	if c.last[0].extent != &i.(*image).extents[39] || c.last[3].extent != &i.(*image).extents[36] {
		t.Error("not the last four are cached")
	}
	if again := c.of(c.last[2].extent); again != c.last[0].tables {
		t.Error("a cache was made anew")
	}
}

func FuzzOpen(f *testing.F) {
	x, _ := sample()
	f.Add(x.image(), []byte{})
	for _, marked := range []bool{true, false} {
		x, _ := compressedSample(marked, marked)
		x.data = x.data[:len(x.data)/4]
		f.Add(x.image(), []byte{})
	}
	image := []byte(text("vmfs", "RW 1600 VMFSSPARSE \"a\"\nRW 10 ZERO\nRW 1600 FLAT \"a\" 0"))
	f.Add(image, esx(1600, map[int]uint32{0: dataAt}, content(grain, 1), nil))
	image = []byte(text("seSparse", `RW 4096 SESPARSE "a"`, `parentFileNameHint="b"`))
	f.Add(image, se(4096, map[int]uint64{0: seGrain(0), 9: 1 << 60}, content(4096, 2), nil))
	f.Fuzz(func(t *testing.T, image, extent []byte) {
		disktest.Survive(t, Format, image, disk.OpenOptions{})
		disktest.Survive(t, Format, image, disk.OpenOptions{Files: []disk.File{disktest.File(extent)}})
	})
}

func ExampleFormat() {
	x, _ := sample()
	image := x.image()
	i, err := Format.Open(disk.NewFile(bytes.NewReader(image), int64(len(image))), disk.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(i.Size(), i.Info().ClusterSize, i.Info().Details[2].Value)
	// Output: 512000 8192 monolithicSparse
}

// sparseFile is a file of zeros but for some runs of data, which fails to be
// read elsewhere.
type sparseFile struct {
	disk.File
	runs [][2]int64
}

func (f sparseFile) DataRun(off int64) (start, end int64, err error) {
	for _, r := range f.runs {
		if off < r[1] {
			return max(off, r[0]), r[1], nil
		}
	}
	return 0, 0, io.EOF
}

func (f sparseFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if off >= 1<<20 {
		return 0, errors.New("a hole was read")
	}
	return n, err
}

// Grain tables that are holes of the file are skipped without being read.
func TestHolesInTables(t *testing.T) {
	const tables = 1000
	x := hosted{text: embedded, capacity: tables * 512 * 16}
	image := x.image()
	image = append(image, make([]byte, 4<<20)...)
	for k := range uint32(tables) {
		binary.LittleEndian.PutUint32(image[directoryAt*512+4*k:], 2048+4*k)
	}
	f := sparseFile{disktest.File(image), [][2]int64{{0, 64 << 10}}}
	i, err := Format.Open(f, disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := i.Extent(12345, 1<<60); err != nil || e.Kind != disk.Unallocated || e.End() != i.Size() {
		t.Errorf("%+v, %v", e, err)
	}
	// Data between holes is seen.
	f.runs = append(f.runs, [2]int64{1<<20 + 4096, 1<<20 + 8192})
	if i, err = Format.Open(f, disk.OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	if e, err := i.Extent(0, 1<<60); err != nil || e.Length != 2*512*grain {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := i.Extent(2*512*grain, 1); err == nil {
		t.Error("a table was taken for a hole")
	}
}

func FuzzDescriptor(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parseDescriptorFile(text)
		if err != nil {
			return
		}
		var total int64
		for _, e := range d.extents {
			if e.sectors <= 0 || e.sectors > maxSectors-total || e.offset < 0 || e.offset > maxSectors-e.sectors {
				t.Fatalf("extent %+v after %d sectors", e, total)
			}
			if (e.name == "") != (e.kind == kindZero) || len(e.name) > maxExtentName || strings.ContainsAny(e.name, "\"\n\x00") {
				t.Fatalf("extent %+v", e)
			}
			total += e.sectors
		}
		if len(d.extents) > maxExtents || len(d.extents) == 0 || len(d.parentHint) > maxParentName {
			t.Fatalf("%d extents, parent %q", len(d.extents), d.parentHint)
		}
	})
}
