package vpc

import (
	"bytes"
	"encoding/binary"
	"errors"
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

// content returns n bytes that are random, but for some runs of zeros.
func content(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, n)
	for k := range p {
		p[k] = byte(r.Uint32())
	}
	for range 4 {
		at := r.IntN(n)
		clear(p[at:min(n, at+n/8)])
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

// sample is a dynamic disk of eight blocks of 8 KiB, of which two are stored,
// out of order.
func sample() (b builder, want []byte) {
	const size = 8 << 10
	one, two := content(size, 1), content(size, 2)
	b = builder{
		size: 64 << 10, chs: [3]int{2, 4, 16}, app: "qemu", kind: typeDynamic, block: size, entries: 8,
		bat:    map[int]uint32{5: firstBlock, 1: firstBlock + 17},
		blocks: [][]byte{block(0xff, one), block(0xff, two)},
	}
	want = make([]byte, b.size)
	copy(want[5*size:], one)
	copy(want[1*size:], two)
	return b, want
}

func TestConformance(t *testing.T) {
	b, want := sample()
	t.Run("dynamic", func(t *testing.T) {
		disktest.Run(t, disktest.Config{Format: Format, Image: b.image(), Want: want})
	})
	t.Run("fixed", func(t *testing.T) {
		b := b
		b.kind, b.blocks = typeFixed, [][]byte{want}
		disktest.Run(t, disktest.Config{Format: Format, Image: b.image(), Want: want, Headless: true})
	})
	t.Run("differencing", func(t *testing.T) {
		b, want := differencing()
		disktest.Run(t, disktest.Config{Format: Format, Image: b.image(), Want: want})
	})
}

// Reading by qemu-img and by this package gives the same.
func TestAgainstQemuImg(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	raw := filepath.Join(dir, "in.raw")
	p := make([]byte, 9<<20)
	copy(p[100:], content(300<<10, 3))
	copy(p[5<<20+77:], content(1<<20, 4))
	if err := os.WriteFile(raw, p, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{
		"subformat=dynamic", "subformat=fixed", "subformat=dynamic,force_size=on", "subformat=fixed,force_size=on",
	} {
		t.Run(options, func(t *testing.T) {
			image, back := filepath.Join(dir, "image.vhd"), filepath.Join(dir, "back.raw")
			testutil.Run(t, qemuImg, "convert", "-O", "vpc", "-o", options, raw, image)
			testutil.Run(t, qemuImg, "convert", "-f", "vpc", "-O", "raw", image, back)
			got, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(back)
			if err != nil {
				t.Fatal(err)
			}
			i := mustOpen(t, got)
			have := make([]byte, i.Size())
			if _, err := i.ReadAt(have, 0); err != nil || !bytes.Equal(have, want) {
				t.Errorf("%d bytes, want %d; %v", len(have), len(want), err)
			}
			if (i.Info().ClusterSize == 2<<20) != strings.Contains(options, "dynamic") {
				t.Errorf("cluster size %d", i.Info().ClusterSize)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for _, test := range []struct {
		app  string
		chs  [3]int
		size int64
		want int64
	}{
		{"qemu", [3]int{31, 4, 17}, 1 << 20, 1079296},
		{"vpc ", [3]int{31, 4, 17}, 1 << 20, 1079296},
		{"qem2", [3]int{31, 4, 17}, 1 << 20, 1 << 20},
		{"win ", [3]int{31, 4, 17}, 1 << 20, 1 << 20},
		{"wa\x00\x00", [3]int{31, 4, 17}, 1 << 20, 1 << 20},
		{"d2v ", [3]int{31, 4, 17}, 1 << 20, 1 << 20},
		{"tap\x00", [3]int{31, 4, 17}, 1 << 20, 1 << 20},
		{"CTXS", [3]int{31, 4, 17}, 1 << 20, 1 << 20},
		{"QEMU", [3]int{31, 4, 17}, 1<<20 + 1000, 1<<20 + 512},
		{"qemu", [3]int{0, 0, 0}, 1 << 20, 0},
		{"qemu", [3]int{65535, 16, 255}, 200 << 30, 200 << 30},
		{"qemu", [3]int{65535, 16, 255}, maxSize, maxSize},
		{"qemu", [3]int{65535, 16, 255}, maxSize + 512, -1},
		{"win ", [3]int{1, 1, 1}, -1, -1},
	} {
		b := builder{size: test.size, chs: test.chs, app: test.app, kind: typeFixed}
		// A byte in front of it makes the footer the last sector, not the first.
		image := append(make([]byte, 512), b.image()...)
		i, err := Format.Open(disktest.File(image), disk.OpenOptions{})
		if test.want < 0 {
			if err == nil || err.Error() != "File too large" {
				t.Errorf("%q %v %d: %v", test.app, test.chs, test.size, err)
			}
			continue
		}
		if err != nil || i.Size() != test.want {
			t.Errorf("%q %v %d: %v, %v", test.app, test.chs, test.size, i, err)
		}
	}
}

// What qemu-img says to damaged images is what is said here.
func TestRefusals(t *testing.T) {
	be := binary.BigEndian
	truncated := truncated().Error()
	for _, test := range []struct {
		name   string
		change func(b *builder)
		want   string
	}{
		{"bad dynamic cookie", func(b *builder) { b.change = func(_, d []byte) { d[0] = 'x' } }, "Invalid header magic"},
		{"block not a power of two", func(b *builder) { b.block = 8<<10 + 512 }, "Invalid block size 8704"},
		{"block of 0", func(b *builder) { b.block = 0 }, "Invalid block size 0"},
		{"block below a sector", func(b *builder) { b.block, b.entries = 256, 256 }, "Invalid block size 256"},
		{"block of 2 GiB", func(b *builder) { b.block = 1 << 31 }, truncated},
		{"few entries", func(b *builder) { b.entries = 7 }, "Page table too small"},
		{"too many entries", func(b *builder) { b.entries = 0x7fffffff }, "Max Table Entries too large (2147483647)"},
		{"most entries", func(b *builder) { b.entries = maxEntries }, truncated},
		{"BAT behind the end", func(b *builder) { b.change = func(_, d []byte) { be.PutUint64(d[16:], 1<<40) } }, truncated},
		{"BAT far behind the end", func(b *builder) { b.change = func(_, d []byte) { be.PutUint64(d[16:], 1<<63-4) } }, "Error reading pagetable"},
		{"negative BAT", func(b *builder) { b.change = func(_, d []byte) { be.PutUint64(d[16:], 1<<63) } }, "Error reading pagetable"},
		{"block behind the end", func(b *builder) { b.bat[7] = 1000 }, truncated},
		{"block far behind the end", func(b *builder) { b.bat[7] = 0xfffffffe }, truncated},
		{"header behind the end", func(b *builder) { b.change = func(f, _ []byte) { be.PutUint64(f[16:], 1<<40) } }, "Invalid header magic"},
		{"negative header", func(b *builder) { b.change = func(f, _ []byte) { be.PutUint64(f[16:], 1<<63) } }, "Error reading dynamic VHD header"},
		{"fixed with a footer in front", func(b *builder) { b.change = func(f, _ []byte) { be.PutUint32(f[60:], typeFixed) } }, "invalid VPC image"},
		{"reserved type", func(b *builder) { b.change = func(f, _ []byte) { be.PutUint32(f[60:], 5) } }, "VHD of type 5 is not supported"},
		{"too large", func(b *builder) { b.app, b.size = "win ", 2041<<30 }, "File too large"},
	} {
		b, _ := sample()
		test.change(&b)
		checkRefused(t, test.name, b.image(), test.want)
	}

	b, _ := sample()
	image := b.image()
	image[100] ^= 1
	checkRefused(t, "checksum", image, "Incorrect header checksum")
	checkRefused(t, "cut short", b.image()[:firstBlock*512+9000], truncated)
	checkRefused(t, "empty", nil, "File too small for a VHD header")
	checkRefused(t, "a byte", []byte{1}, "invalid VPC image")
	checkRefused(t, "cookie alone", []byte(cookie), "Incorrect header checksum")
	checkRefused(t, "footer alone", b.image()[:512], "Invalid header magic")
	checkRefused(t, "dynamic footer at the end", b.image()[512:], "invalid VPC image")
}

func checkRefused(t *testing.T, name string, image []byte, want string) {
	t.Helper()
	_, err := Format.Open(disktest.File(image), disk.OpenOptions{})
	var format *disk.FormatError
	var unsupported *disk.UnsupportedError
	if err == nil || err.Error() != want || (!errors.As(err, &format) && !errors.As(err, &unsupported)) {
		t.Errorf("%s: %v; want %q", name, err, want)
	}
}

// The footer behind a fixed disk is found where the file, as rounded up to
// whole sectors, ends; and as QEMU does, content is what the file has there.
func TestFixedLength(t *testing.T) {
	b, want := sample()
	b.kind, b.blocks = typeFixed, [][]byte{want}
	image := b.image()
	image = image[:len(image)-1] // of the reserved area, which is zeros
	if i := mustOpen(t, image); i.Size() != int64(len(want)) {
		t.Errorf("size %d", i.Size())
	}
	b.blocks = [][]byte{want[:60<<10]}
	short := b.image()
	i := mustOpen(t, short)
	got := make([]byte, i.Size())
	if _, err := i.ReadAt(got, 0); err != nil || !bytes.Equal(got[:len(short)], short) || len(bytes.Trim(got[len(short):], "\x00")) > 0 {
		t.Errorf("short file: %v", err)
	}
}

// QEMU does not look at the sector bitmaps of dynamic disks.
func TestDynamicBitmapIsIgnored(t *testing.T) {
	b, want := sample()
	for _, p := range b.blocks {
		clear(p[:512])
	}
	got := make([]byte, len(want))
	if _, err := mustOpen(t, b.image()).ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("content differs, %v", err)
	}
}

// A large BAT is only checked in part when an image is opened, and the rest
// when it is used.
func TestLargeBAT(t *testing.T) {
	b := builder{app: "win ", kind: typeDynamic, size: 3 << 30, block: 512, entries: 3 << 21}
	b.chs = [3]int{1, 1, 1}
	image := b.image()
	table := bytes.Repeat([]byte{0xff}, 4*int(b.entries))
	binary.BigEndian.PutUint32(table[4*(b.entries-1):], 0xfffffff0)
	image = append(image[:(firstBlock-8)*512], table...)
	i := mustOpen(t, image)
	last := i.Size() - 512
	if _, err := i.Extent(last, 512); err == nil || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("last block: %v", err)
	}
	steps := 0
	for off := int64(0); off < last; steps++ {
		e, err := i.Extent(off, i.Size())
		if err != nil || e.Kind != disk.Unallocated {
			t.Fatalf("at %d: %+v, %v", off, e, err)
		}
		off = e.End()
	}
	if steps > 10 {
		t.Errorf("%d extents", steps)
	}
}

// differencing is a differencing disk of four blocks: the first has every other
// sector, the third all of them, the last one none.
func differencing() (b builder, want []byte) {
	const size = 4 << 20 // two sectors of bitmap
	some, all := content(size, 5), content(size, 6)
	b = builder{
		size: 4 * size, chs: [3]int{1, 1, 1}, app: "win ", kind: typeDifferencing, block: size, entries: 4,
		parent: "parent.vhd", parentID: 0xab,
		blocks: [][]byte{block(0xaa, some), block(0xff, all), block(0, content(size, 7))},
	}
	step := uint32(len(b.blocks[0]) / 512)
	b.bat = map[int]uint32{0: firstBlock, 2: firstBlock + step, 3: firstBlock + 2*step}
	want = make([]byte, b.size)
	for sector := 0; sector < size/512; sector += 2 {
		copy(want[sector*512:], some[sector*512:][:512])
	}
	copy(want[2*size:], all)
	return b, want
}

func TestDifferencing(t *testing.T) {
	b, want := differencing()
	child := mustOpen(t, b.image())

	parent := content(len(want), 8)
	fixed := builder{size: b.size, app: "win ", kind: typeFixed, blocks: [][]byte{parent}}
	got := make([]byte, len(want))
	if _, err := disk.Chain(child, mustOpen(t, fixed.image())).ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for sector := range len(want) / 512 {
		from := parent
		if block := sector / 8192; block == 2 || (block == 0 && sector%2 == 0) {
			from = want
		}
		if !bytes.Equal(got[sector*512:][:512], from[sector*512:][:512]) {
			t.Fatalf("sector %d differs", sector)
		}
	}
	for off, wantLength := range map[int64]int64{
		0: 512, 512: 512, 4 << 20: 4 << 20, 5 << 20: 3 << 20, 8 << 20: 4 << 20, 12 << 20: 4 << 20,
	} {
		if e, err := child.Extent(off, 1<<40); err != nil || e.Length != wantLength {
			t.Errorf("extent at %d: %+v, %v; want length %d", off, e, err, wantLength)
		}
	}
}

// 7-Zip, which follows parents too, extracts the same content.
func TestDifferencingAgainst7Zip(t *testing.T) {
	program := testutil.Require(t, "7z", "p7zip-full")
	b, own := differencing()
	base := builder{size: b.size, app: "win ", kind: typeFixed, blocks: [][]byte{content(len(own), 8)}}
	b.parent, b.parentID = "base.vhd", 0x1d
	dir := t.TempDir()
	for name, image := range map[string][]byte{"child.vhd": b.image(), "base.vhd": base.image()} {
		if err := os.WriteFile(filepath.Join(dir, name), image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Run(t, program, "e", "-o"+dir, filepath.Join(dir, "child.vhd"))
	want, err := os.ReadFile(filepath.Join(dir, "child.img"))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	chain := disk.Chain(mustOpen(t, b.image()), mustOpen(t, base.image()))
	if _, err := chain.ReadAt(got, 0); err != nil || int(chain.Size()) != len(want) || !bytes.Equal(got, want) {
		t.Errorf("content differs, %v", err)
	}
}

func TestParentLocators(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	for _, test := range []struct {
		name     string
		parent   string
		locators []locator
		want     []string
	}{
		{"header alone", "base.vhd", nil, []string{"base.vhd"}},
		{"header with a path", `C:\vm\base.vhd`, nil, []string{"base.vhd", `C:\vm\base.vhd`}},
		{"relative", "", []locator{{"W2ru", encode(`.\base.vhd`, le)}}, []string{"base.vhd"}},
		{"big-endian", "", []locator{{"W2ru", encode(`.\base.vhd`, be)}}, []string{"base.vhd"}},
		{"NUL behind", "", []locator{{"W2ru", encode(".\\base.vhd\x00", le)}}, []string{"base.vhd"}},
		{
			"relative before absolute", "name.vhd",
			[]locator{{"W2ku", encode(`C:\a\abs.vhd`, le)}, {"W2ru", encode(`..\x\rel.vhd`, le)}},
			[]string{"../x/rel.vhd", "name.vhd", "abs.vhd", `C:\a\abs.vhd`},
		},
		{
			"others are left out", "name.vhd",
			[]locator{{"MacX", []byte("file://localhost/a/b.vhd")}, {"Wi2r", []byte("b.vhd")}, {"", []byte("x")}},
			[]string{"name.vhd"},
		},
		{"beyond", "", []locator{{"W2ru", encode("/etc/passwd", le)}}, []string{"passwd", "/etc/passwd"}},
		{"protocol", "", []locator{{"W2ru", encode("nbd://host/x", le)}}, []string{"nbd://host/x"}},
		{"not ASCII", "", []locator{{"W2ru", encode(`.\bäse 😀.vhd`, le)}}, []string{"bäse 😀.vhd"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, _ := differencing()
			b.parent, b.locators = test.parent, test.locators
			info := mustOpen(t, b.image()).Info()
			want := []disk.Reference{{
				Kind: disk.BackingFile, Names: test.want, Format: "vpc",
				Identity: "abababab-abab-abab-abab-abababababab",
			}}
			if diff := cmp.Diff(want, info.References); diff != "" {
				t.Error(diff)
			}
			if info.Identity != "1d1d1d1d-1d1d-1d1d-1d1d-1d1d1d1d1d1d" {
				t.Errorf("identity %s", info.Identity)
			}
		})
	}

	for name, change := range map[string]func(b *builder){
		"small blocks": func(b *builder) { b.block, b.entries = 2048, 8<<10 },
		"no name":      func(b *builder) { b.parent = "" },
		"NUL inside":   func(b *builder) { b.parent = "a\x00b" },
		"NUL inside a locator": func(b *builder) {
			b.locators = []locator{{"W2ru", encode("a\x00b", le)}}
		},
		"odd length": func(b *builder) { b.locators = []locator{{"W2ru", []byte("abc")}} },
		"too long": func(b *builder) {
			b.locators = []locator{{"W2ru", nil}}
			b.change = func(_, d []byte) { be.PutUint32(d[576+8:], 1<<31) }
		},
		"far away": func(b *builder) {
			b.locators = []locator{{"W2ru", encode("a", le)}}
			b.change = func(_, d []byte) { be.PutUint64(d[576+16:], 1<<63-1) }
		},
	} {
		b, _ := differencing()
		change(&b)
		var format *disk.FormatError
		if _, err := Format.Open(disktest.File(b.image()), disk.OpenOptions{}); !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProbe(t *testing.T) {
	b, _ := sample()
	for want, head := range map[int][]byte{100: b.image()[:512], 0: []byte("conectiX")} {
		if got := Format.Probe(head); got != want {
			t.Errorf("Probe(%q) = %d", head[:8], got)
		}
	}
}

func TestSnapshotOption(t *testing.T) {
	b, _ := sample()
	if _, err := Format.Open(disktest.File(b.image()), disk.OpenOptions{Snapshot: "1"}); err == nil {
		t.Error("opened")
	}
}

func FuzzOpen(f *testing.F) {
	b, _ := sample()
	f.Add(b.image())
	d, _ := differencing()
	d.block, d.entries, d.size, d.blocks, d.bat = 4096, 8, 32<<10, [][]byte{block(0xaa, make([]byte, 4096))}, map[int]uint32{3: firstBlock}
	d.locators = []locator{{"W2ru", encode(`.\base.vhd`, binary.LittleEndian)}}
	f.Add(d.image())
	b.kind, b.blocks = typeFixed, [][]byte{make([]byte, 1024)}
	f.Add(b.image())
	f.Fuzz(func(t *testing.T, image []byte) {
		// A wrong checksum would end every try early.
		if len(image) >= 512 {
			image = bytes.Clone(image)
			foot := image[:512]
			if string(foot[:8]) != cookie {
				foot = image[(len(image)-1)/512*512:]
			}
			if len(foot) == 512 {
				binary.BigEndian.PutUint32(foot[footerSum:], checksum(foot, footerSum))
			}
		}
		disktest.Survive(t, Format, image, disk.OpenOptions{})
	})
}

// TestCheck looks at what a disk can be read without.
func TestCheck(t *testing.T) {
	b, _ := sample()
	sound := b.image()
	for name, damage := range map[string]func(p []byte) []byte{
		"nothing":             func(p []byte) []byte { return p },
		"checksum of header":  func(p []byte) []byte { p[512+36]++; return p },
		"version of header":   func(p []byte) []byte { p[512+25]++; return p },
		"footer at the end":   func(p []byte) []byte { p[len(p)-512]++; return p },
		"checksum at the end": func(p []byte) []byte { p[len(p)-1]++; return p },
		"one byte less":       func(p []byte) []byte { return p[:len(p)-1] },
		"no footer":           func(p []byte) []byte { return p[:len(p)-512] },
	} {
		err := mustOpen(t, damage(bytes.Clone(sound))).(disk.Checker).Check()
		if (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ExampleFormat() {
	b, _ := sample()
	image := b.image()
	i, err := Format.Open(disk.NewFile(bytes.NewReader(image), int64(len(image))), disk.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(i.Size(), i.Info().ClusterSize)
	// Output: 65536 8192
}

func TestResembles(t *testing.T) {
	fixed := builder{size: 1024, app: "win ", kind: typeFixed, blocks: [][]byte{content(1024, 3)}}.image()
	damaged := bytes.Clone(fixed)
	damaged[len(damaged)-1]++
	dynamic, _ := sample()
	for name, test := range map[string]struct {
		image []byte
		want  string
	}{
		"fixed":         {fixed, "vpc"},
		"footer":        {fixed[1024:], "vpc"},
		"cut short":     {fixed[:len(fixed)-1], ""},
		"damaged":       {damaged, ""},
		"dynamic":       {dynamic.image(), ""},
		"less than one": {fixed[1100:], ""},
		"nothing":       {nil, ""},
	} {
		got, err := disk.NewRegistry(Format).Resembles(disktest.File(test.image))
		if got != test.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
}
