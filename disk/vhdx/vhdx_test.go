package vhdx

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
		parent: map[string]string{"relative_path": `.\base.vhdx`, "parent_linkage": "{0dd0e5e5-0000-1111-2222-333344445555}"},
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

func TestRefusals(t *testing.T) {
	le := binary.LittleEndian
	both := func(put func(h []byte)) func(b []byte) {
		return func(b []byte) { put(b[headerAt:]); put(b[secondAt:]) }
	}
	regions := func(put func(p []byte)) func(b []byte) {
		return func(b []byte) { put(b[regionsAt:]); put(b[regionsCopyAt:]) }
	}
	end := `points after end of file (6291456). Image has probably been truncated.`
	for _, test := range []struct {
		name   string
		change func(x *builder)
		want   string
	}{
		{"signature", func(x *builder) { x.change = func(b []byte) { b[0] = 'V' } }, "Invalid argument"},
		{"header version", func(x *builder) { x.change = both(func(h []byte) { h[66] = 2 }) }, "No valid VHDX header found"},
		{"header signature", func(x *builder) { x.change = both(func(h []byte) { h[0] = 'H' }) }, "No valid VHDX header found"},
		{"conflicting headers", func(x *builder) { x.change = func(b []byte) { b[headerAt+8], b[headerAt+16] = 2, 1 } }, "No valid VHDX header found"},
		{"log version", func(x *builder) { x.change = both(func(h []byte) { h[64] = 1 }) }, "Unsupported VHDX log version 1"},
		{"region table signature", func(x *builder) { x.change = regions(func(p []byte) { p[0] = 'R' }) }, "No valid VHDX region table found"},
		{"many regions", func(x *builder) { x.change = regions(func(p []byte) { le.PutUint32(p[8:], 2048) }) }, "VHDX region table of 2048 entries"},
		{"no BAT", func(x *builder) { x.change = regions(func(p []byte) { p[16], p[16+28] = 0, 0 }) }, "VHDX region table without BAT or metadata"},
		{"no metadata", func(x *builder) { x.change = regions(func(p []byte) { le.PutUint32(p[8:], 1) }) }, "VHDX region table without BAT or metadata"},
		{"required region", func(x *builder) { x.regions = regionEntry(dataID, 8<<20, 1<<20, 1) }, "VHDX region dadadada-dada-dada-dada-dadadadadada is required and not supported"},
		{"BAT twice", func(x *builder) { x.regions = regionEntry(regionBAT, 8<<20, 1<<20, 1) }, "VHDX region 2dc27766-f623-4200-9d64-115e9bfd4a08 comes twice"},
		{"overlap", func(x *builder) { x.regions = regionEntry(dataID, 3<<20, 1<<20, 0) }, "VHDX region 3145728-4194304 overlaps with region 3145728-4194304"},
		{"overlap with the log", func(x *builder) { x.regions = regionEntry(dataID, logAt, 1<<20, 0) }, "VHDX region 1048576-2097152 overlaps with region 1048576-2097152"},
		{"overlap with the header", func(x *builder) { x.regions = regionEntry(dataID, 0, 1<<20, 0) }, "VHDX region 0-1048576 overlaps with region 0-1048576"},
		{"unaligned region", func(x *builder) { x.regions = regionEntry(dataID, 8<<20+4096, 1<<20, 0) }, "VHDX region at offset 8392704 of 1048576 bytes"},
		{"region that overflows", func(x *builder) { x.regions = regionEntry(dataID, 1<<63-1<<20, 1<<20, 0) }, "VHDX region at offset 9223372036853727232 of 1048576 bytes"},
		{"log that overflows", func(x *builder) { x.change = both(func(h []byte) { le.PutUint64(h[72:], 1<<63) }) }, "VHDX log at offset 9223372036854775807"},

		{"metadata signature", func(x *builder) { x.change = func(b []byte) { b[metadataAt] = 'M' } }, "VHDX metadata table is invalid"},
		{"many items", func(x *builder) { x.change = func(b []byte) { le.PutUint16(b[metadataAt+10:], 2048) } }, "VHDX metadata table is invalid"},
		{"required item", func(x *builder) { x.items = map[guid][]byte{dataID: {1}} }, "VHDX metadata item dadadada-dada-dada-dada-dadadadadada is required and not supported"},
		{"item missing", func(x *builder) { x.items = map[guid][]byte{itemSize: nil} }, "VHDX metadata item 2fa54224-cd1b-4876-b211-5dbed83bf4b8 is missing"},
		{"short item", func(x *builder) { x.items = map[guid][]byte{itemSize: {1, 2}} }, "VHDX metadata item 2fa54224-cd1b-4876-b211-5dbed83bf4b8 at offset 65540 of 2 bytes"},
		{"item in the table", func(x *builder) { x.change = func(b []byte) { le.PutUint32(b[metadataAt+32+16:], 4096) } }, "VHDX metadata item 8141bf1d-a96f-4709-ba47-f233a8faab5f at offset 4096 of 4 bytes"},
		{"item behind the region", func(x *builder) { x.change = func(b []byte) { le.PutUint32(b[metadataAt+32+16:], 1<<20) } }, "VHDX metadata item 8141bf1d-a96f-4709-ba47-f233a8faab5f at offset 1048576 of 4 bytes"},
		{"long item", func(x *builder) { x.change = func(b []byte) { le.PutUint32(b[metadataAt+32+20:], 1<<31) } }, "VHDX metadata item 8141bf1d-a96f-4709-ba47-f233a8faab5f at offset 65536 of 2147483648 bytes"},
		{"item twice", func(x *builder) { x.change = func(b []byte) { copy(b[metadataAt+64:], b[metadataAt+32:][:32]) } }, "VHDX metadata item 8141bf1d-a96f-4709-ba47-f233a8faab5f comes twice"},

		{"block of 3 MiB", func(x *builder) { x.block = 3 << 20 }, "Invalid block size 3145728"},
		{"block of 512 MiB", func(x *builder) { x.block = 512 << 20 }, "Invalid block size 536870912"},
		{"block of 512 KiB", func(x *builder) { x.items = map[guid][]byte{itemParameters: {0, 0, 8, 0, 0, 0, 0, 0}} }, "Invalid block size 524288"},
		{"block of 0", func(x *builder) { x.items = map[guid][]byte{itemParameters: make([]byte, 8)} }, "Invalid block size 0"},
		{"sector size", func(x *builder) { x.sector = 1024 }, "Invalid logical sector size 1024"},
		{"size of half a sector", func(x *builder) { x.size = 1000 }, "Invalid virtual disk size 1000"},
		{"size above 64 TiB", func(x *builder) { x.size = 64<<40 + 512 }, "Invalid virtual disk size 70368744178176"},
		{"greatest size", func(x *builder) { x.size = 1<<64 - 512 }, "Invalid virtual disk size 18446744073709551104"},
		{"small BAT", func(x *builder) { x.size = 1 << 40 }, "VHDX BAT has room for 131072 entries, and 1048831 are needed"},

		{"block behind the end", func(x *builder) { x.bat[1] = present(6) }, "VHDX BAT entry 1 start offset 6291456 " + end},
		{"block far behind the end", func(x *builder) { x.bat[1] = 1<<62 - 1<<20 + blockFullyPresent }, "VHDX BAT entry 1 start offset 4611686018426339328 " + end},
		{"block that overflows", func(x *builder) { x.bat[1] = 1<<64 - 1<<20 + blockFullyPresent }, "VHDX BAT entry 1 offset overflow."},
		{"block cut short", func(x *builder) { x.data = x.data[:2<<20-512] }, "VHDX BAT entry 0 end offset 6291455 points after end of file (6290944). Image has probably been truncated."},
		{"block in the header", func(x *builder) { x.bat[1] = present(0) }, "VHDX BAT entry 1 points to 0-1048576, where a region is"},
		{"block in the log", func(x *builder) { x.bat[1] = present(1) }, "VHDX BAT entry 1 points to 1048576-2097152, where a region is"},
		{"block in the BAT", func(x *builder) { x.bat[1] = present(2) }, "VHDX BAT entry 1 points to 2097152-3145728, where a region is"},

		{"no locator", func(x *builder) { x.parent = map[string]string{}; x.items = map[guid][]byte{itemParentLocator: nil} }, "VHDX parent locator is invalid"},
		{"empty locator", func(x *builder) { x.parent = map[string]string{} }, "VHDX parent locator does not say which parent"},
		{"no linkage", func(x *builder) { x.parent = map[string]string{"relative_path": "a"} }, "VHDX parent locator does not say which parent"},
		{"no name", func(x *builder) { x.parent = map[string]string{"parent_linkage": "{1}"} }, "VHDX parent locator does not say which parent"},
		{"NUL in a name", func(x *builder) { x.parent = map[string]string{"parent_linkage": "{1}", "relative_path": "a\x00b"} }, "VHDX parent locator: malformed file name"},
	} {
		x, _ := sample()
		test.change(&x)
		checkRefused(t, test.name, x.image(), test.want)
	}
	x, _ := sample()
	image := x.image()
	image[headerAt+100], image[secondAt+100] = 1, 1
	checkRefused(t, "checksums of headers", image, "No valid VHDX header found")
	image = x.image()
	image[regionsAt+100], image[regionsCopyAt+100] = 1, 1
	checkRefused(t, "checksums of region tables", image, "No valid VHDX region table found")
	checkRefused(t, "empty", nil, "Invalid argument")
	checkRefused(t, "signature alone", []byte(signature), "No valid VHDX header found")
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

// One valid header is enough, the newer of two counts, two that are the same
// are one, and the copy of the region table stands in for it.
func TestCopies(t *testing.T) {
	_, want := sample()
	for name, change := range map[string]func(b []byte){
		"first header":         func(b []byte) { b[secondAt] = 'H' },
		"second header":        func(b []byte) { b[headerAt] = 'H' },
		"newer first":          func(b []byte) { b[headerAt+8] = 9; b[secondAt+64] = 1 },
		"newer second":         func(b []byte) { b[headerAt+64] = 1 },
		"the same twice":       func(b []byte) { copy(b[headerAt:][:headerSize], b[secondAt:]) },
		"copy of region table": func(b []byte) { b[regionsAt] = 'R' },
	} {
		x, _ := sample()
		x.change = change
		if !bytes.Equal(all(t, mustOpen(t, x.image())), want) {
			t.Errorf("%s: content differs", name)
		}
		if err := mustOpen(t, x.image()).(disk.Checker).Check(); (err != nil) != (name == "copy of region table") {
			t.Errorf("%s: checked: %v", name, err)
		}
	}
}

// States that do not belong in a BAT are errors where they are met.
func TestBadStates(t *testing.T) {
	for _, state := range []uint64{4, blockPartiallyPresent} {
		x, _ := sample()
		x.bat[1] = 5<<20 | state
		i := mustOpen(t, x.image())
		var format *disk.FormatError
		if _, err := i.Extent(1<<20, 1); !errors.As(err, &format) {
			t.Errorf("state %d: %v", state, err)
		}
		if e, err := i.Extent(0, 1<<40); err != nil || e.Length != 1<<20 {
			t.Errorf("state %d: run before it: %+v, %v", state, e, err)
		}
	}
	const ratio = 4096
	for name, entry := range map[string]uint64{
		"no bitmap": 0, "bitmap behind the end": present(100), "bitmap in the BAT": present(2),
	} {
		x, _ := differencing(512)
		x.bat[ratio] = entry
		var format *disk.FormatError
		if _, err := mustOpen(t, x.image()).Extent(1<<20, 1); !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Blocks behind the first chunk have their entries behind its bitmap's.
func TestSecondChunk(t *testing.T) {
	const ratio = 32 // 4 GiB of disk in blocks of 128 MiB
	x := builder{size: 5 << 30, block: 128 << 20, data: make([]byte, 129<<20), bat: map[int]uint64{ratio + 1: present(4)}}
	x.data[5] = 7
	i := mustOpen(t, x.image())
	if e, err := i.Extent(0, 1<<40); err != nil || e.Kind != disk.Unallocated || e.Length != 4<<30 {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := i.Extent(4<<30, 1<<40); err != nil || e.Kind != disk.Data || e.Offset != dataAt || e.Length != 128<<20 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestDifferencing(t *testing.T) {
	for _, sector := range []uint32{512, 4096} {
		x, own := differencing(sector)
		child := mustOpen(t, x.image())
		below := content(3<<20, 5)
		base := builder{size: 3 << 20, fixed: true, data: below, bat: map[int]uint64{0: present(4), 1: present(5), 2: present(6)}}
		got := all(t, disk.Chain(child, mustOpen(t, base.image())))
		for at := 0; at < len(got); at += int(sector) {
			from, k := below, (at-1<<20)/int(sector)
			if at < 1<<20 || (at < 2<<20 && (k%3 == 0 || k > 1000)) {
				from = own
			}
			if !bytes.Equal(got[at:][:sector], from[at:][:sector]) {
				t.Fatalf("sectors of %d: at %d: content differs", sector, at)
			}
		}
	}
}

// In a differencing disk, only what is not present shows the parent.
func TestStatesOverParent(t *testing.T) {
	x, _ := sample()
	x.parent = map[string]string{"relative_path": "a", "parent_linkage": "{1}"}
	x.bat = map[int]uint64{1: blockUndefined, 2: blockZero, 3: blockUnmapped}
	i := mustOpen(t, x.image())
	for off, want := range map[int64]disk.Kind{0: disk.Unallocated, 1 << 20: disk.Zero, 2 << 20: disk.Zero, 3 << 20: disk.Zero, 4 << 20: disk.Unallocated} {
		if e, err := i.Extent(off, 1); err != nil || e.Kind != want {
			t.Errorf("at %d: %+v, %v", off, e, err)
		}
	}
}

func TestParentLocator(t *testing.T) {
	for name, test := range map[string]struct {
		values map[string]string
		want   []string
	}{
		"relative": {map[string]string{"relative_path": `.\base.vhdx`}, []string{"base.vhdx"}},
		"all": {
			map[string]string{"relative_path": `..\x\base.vhdx`, "volume_path": `\\?\Volume{1}\y\vol.vhdx`, "absolute_win32_path": `C:\z\abs.vhdx`},
			[]string{"../x/base.vhdx", "vol.vhdx", "abs.vhdx", `\\?\Volume{1}\y\vol.vhdx`, `C:\z\abs.vhdx`},
		},
		"beyond":   {map[string]string{"relative_path": "../../etc/passwd"}, []string{"../../etc/passwd"}},
		"absolute": {map[string]string{"absolute_win32_path": "/etc/passwd"}, []string{"passwd", "/etc/passwd"}},
		"UNC":      {map[string]string{"absolute_win32_path": `\\host\share\b.vhdx`}, []string{"b.vhdx", `\\host\share\b.vhdx`}},
		"protocol": {map[string]string{"relative_path": "http://host/x"}, []string{"http://host/x"}},
	} {
		x, _ := sample()
		x.parent = test.values
		x.parent["parent_linkage"] = "{83ED0EC1-24C8-49A6-A959-5E4BD1288791}"
		info := mustOpen(t, x.image()).Info()
		want := []disk.Reference{{Kind: disk.BackingFile, Names: test.want, Format: "vhdx", Identity: "83ed0ec1-24c8-49a6-a959-5e4bd1288791"}}
		if diff := cmp.Diff(want, info.References); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if info.Identity != dataID.String() {
			t.Errorf("identity %s", info.Identity)
		}
	}
}

func TestDamagedLocator(t *testing.T) {
	good := locator(map[string]string{"relative_path": "a", "parent_linkage": "{1}"})
	for k := range good {
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			p := bytes.Clone(good)
			p[k] = v
			_, _ = parseLocator(p) // does not panic
		}
		if _, err := parseLocator(good[:k]); err == nil {
			t.Errorf("locator of %d bytes passed", k)
		}
	}
	if _, err := parseLocator(good); err != nil {
		t.Error(err)
	}
}

func TestGUID(t *testing.T) {
	if got := regionBAT.String(); got != "2dc27766-f623-4200-9d64-115e9bfd4a08" {
		t.Error(got)
	}
}

func TestSizeZero(t *testing.T) {
	if i := mustOpen(t, builder{}.image()); i.Size() != 0 {
		t.Errorf("size %d", i.Size())
	}
}

func FuzzOpen(f *testing.F) {
	// Images of MiBs would be slow to mutate: what is mutated is where it
	// matters, and put into an image.
	x, _ := sample()
	d, _ := differencing(512)
	l, _ := dirty()
	for _, x := range []builder{x, d, l} {
		b := x.image()
		f.Add(b[secondAt:][:80], b[regionsAt:][:96], b[metadataAt:][:300], b[itemsAt:][:300], b[batAt:][:64], b[logAt:][:3*logUnit])
	}
	f.Fuzz(func(t *testing.T, header, regions, metadata, items, bat, log []byte) {
		b := make([]byte, dataAt+2<<20)
		copy(b, signature)
		copy(b[secondAt:][:headerSize], header)
		copy(b[regionsAt:][:regionsSize], regions)
		copy(b[metadataAt:][:metadataTable], metadata)
		copy(b[itemsAt:], items)
		copy(b[batAt:], bat)
		copy(b[logAt:][:1<<20], log)
		seal(b[secondAt:][:headerSize])
		seal(b[regionsAt:][:regionsSize])
		// Entries of the log get checksums that fit what they say they are.
		for at := logAt; at < batAt; at += logUnit {
			if n := binary.LittleEndian.Uint32(b[at+8:]); n >= logUnit && n <= 1<<20 && string(b[at:at+4]) == "loge" {
				seal(b[at:min(at+int(n), batAt)])
			}
		}
		disktest.Survive(t, Format, b, disk.OpenOptions{})
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
	fmt.Println(i.Size(), i.Info().ClusterSize, i.Info().Identity)
	// Output: 4194816 1048576 dadadada-dada-dada-dada-dadadadadada
}

func FuzzLocator(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseLocator(p)
		if err != nil {
			return
		}
		if len(r.Names) == 0 || r.Identity == "" {
			t.Fatalf("%+v", r)
		}
		for _, name := range r.Names {
			if name == "" || strings.Contains(name, "\x00") {
				t.Fatalf("%q", r.Names)
			}
		}
	})
}
