package dmg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/internal/testutil"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func() (builder, []byte){
		"chunks of every kind": func() (builder, []byte) { return sample(t) },
		"resource fork": func() (builder, []byte) {
			b, want := mixed()
			b.fork = true
			return b, want
		},
		"two tables and a data fork that begins later": func() (builder, []byte) {
			b, want := mixed()
			b.split, b.before, b.extra = 4, 1000, "<key>x</key><data>AAAA</data>"
			return b, want
		},
		"end within a chunk": func() (builder, []byte) {
			b, want := mixed()
			b.sectors = 140
			return b, want[:140*512]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, want := build()
			disktest.Run(t, disktest.Config{Format: Format, Image: b.image(), Want: want, Headless: true})
		})
	}
}

func mustOpen(t *testing.T, image []byte) disk.Image {
	t.Helper()
	i, err := Format.Open(disktest.File(image), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Tables need not be in the order of the disk, and the trailer need not be at
// the very end.
func TestOrderAndEnd(t *testing.T) {
	t.Parallel()
	b, want := mixed()
	half := len(b.chunks) / 2
	var first uint64
	for _, c := range b.chunks[:half] {
		first += c.sectors
	}
	b.entry = func(k int, p []byte) { // what was first is stored first, and last on the disk
		sector := binary.BigEndian.Uint64(p[8:])
		if k < half {
			sector += uint64(len(want)/512) - first
		} else {
			sector -= first
		}
		binary.BigEndian.PutUint64(p[8:], sector)
	}
	b.split = half
	image := append(b.image(), bytes.Repeat([]byte{'x'}, trailerSize-1)...)
	turned := append(bytes.Clone(want[first*512:]), want[:first*512]...)
	got := make([]byte, len(want))
	if _, err := mustOpen(t, image).ReadAt(got, 0); err != nil || !bytes.Equal(got, turned) {
		t.Errorf("%v; content equal: %t", err, bytes.Equal(got, turned))
	}
	if _, err := Format.Open(disktest.File(append(image, 'x')), disk.OpenOptions{}); err == nil {
		t.Error("a trailer 512 bytes before the end was found; QEMU looks no further than 511")
	}
}

// qemu-img reads the same content, and so does 7-Zip, which knows more kinds of
// chunk.
func TestOtherReaders(t *testing.T) {
	t.Parallel()
	qemu := testutil.QemuImg(t)
	for name, change := range map[string]func(*builder){
		"property list":   func(*builder) {},
		"resource fork":   func(b *builder) { b.fork = true },
		"two tables":      func(b *builder) { b.split = 3 },
		"data fork later": func(b *builder) { b.before = 512 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, want := mixed()
			change(&b)
			in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(in, b.image(), 0o600); err != nil {
				t.Fatal(err)
			}
			testutil.Run(t, qemu, "convert", "-f", "dmg", "-O", "raw", in, out)
			if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v; content equal: %t", err, bytes.Equal(got, want))
			}
		})
	}
	t.Run("7-Zip", func(t *testing.T) {
		t.Parallel()
		sevenZip := testutil.Require(t, "7z", "p7zip-full")
		b, want := sample(t)
		dir := t.TempDir()
		in := filepath.Join(dir, "in.dmg")
		if err := os.WriteFile(in, b.image(), 0o600); err != nil {
			t.Fatal(err)
		}
		testutil.Run(t, sevenZip, "x", "-o"+dir, in)
		if got, err := os.ReadFile(filepath.Join(dir, "0.part0")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v; content equal: %t", err, bytes.Equal(got, want))
		}
	})
}

// testdata/mixed.dmg is the image of mixed, for tests of whole commands.
func TestMixedIsKept(t *testing.T) {
	t.Parallel()
	kept, err := os.ReadFile("testdata/mixed.dmg")
	if err != nil {
		t.Fatal(err)
	}
	_, want := mixed()
	got := make([]byte, len(want))
	if _, err := mustOpen(t, kept).ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v; content equal: %t", err, bytes.Equal(got, want))
	}
}

func put32(at int, v uint32) func([]byte) {
	return func(p []byte) { binary.BigEndian.PutUint32(p[at:], v) }
}

func put64(at int, v uint64) func([]byte) {
	return func(p []byte) { binary.BigEndian.PutUint64(p[at:], v) }
}

// A trailer that cannot be believed is none.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		trailer func([]byte)
		want    string
	}{
		"magic":                 {put32(0, 0), "Could not locate UDIF trailer in dmg file"},
		"negative size":         {put64(0x1ec, 1<<63), "invalid number of sectors 9223372036854775808"},
		"size beyond any":       {put64(0x1ec, 1<<55), "invalid number of sectors 36028797018963968"},
		"data fork behind":      {put64(0x18, 1<<40), "the data fork begins behind the trailer"},
		"negative data fork":    {put64(0x18, 1<<63), "the data fork begins behind the trailer"},
		"resource fork behind":  {put64(0x28, 1<<40), "the resource fork reaches beyond the trailer"},
		"property list behind":  {put64(0xd8, 1<<40), "the property list reaches beyond the trailer"},
		"property list too far": {put64(0xe0, math.MaxInt64), "the property list reaches beyond the trailer"},
	} {
		b, _ := mixed()
		b.trailer = tc.trailer
		_, err := Format.Open(disktest.File(b.image()), disk.OpenOptions{})
		var damaged *disk.FormatError
		if !errors.As(err, &damaged) || err.Error() != tc.want {
			t.Errorf("%s: %v; want %s", name, err, tc.want)
		}
		// What is behind the trailer cannot be told from the trailer alone.
		image := b.image()
		if got, want := probeEnd(image[len(image)-trailerSize:]), strings.Contains(name, "behind"); got != want {
			t.Errorf("%s: detected: %t; want %t", name, got, want)
		}
	}
	for _, n := range []int{0, 1, 511, 512} {
		if _, err := Format.Open(disktest.File(make([]byte, n)), disk.OpenOptions{}); err == nil {
			t.Errorf("%d zeros were opened", n)
		}
	}
}

// An image whose tables cannot be trusted has a size, and no content.
func TestTablesRefused(t *testing.T) {
	t.Parallel()
	b, _ := mixed()
	entry := func(change func([]byte)) func(*builder) {
		return func(b *builder) {
			b.entry = func(k int, p []byte) {
				if k == 1 {
					change(p)
				}
			}
		}
	}
	fork := func(change func([]byte)) func(*builder) {
		return func(b *builder) { b.fork, b.trailer = true, change }
	}
	for name, tc := range map[string]struct {
		change func(*builder)
		want   string
	}{
		"no tables at all":  {func(b *builder) { b.trailer = put64(0xe0, 0) }, "there are no tables of chunks"},
		"no chunks":         {func(b *builder) { b.chunks = nil; b.sectors = 150 }, "the tables have no chunks"},
		"tables of another": {func(b *builder) { b.table = func(p []byte) []byte { p[0] = 'M'; return p } }, "the tables have no chunks"},
		"table too short":   {func(b *builder) { b.table = func(p []byte) []byte { return p[:243] } }, "the tables have no chunks"},
		"data without end":  {func(b *builder) { b.extra = "<data>AAAA" }, "the property list has data that does not end"},
		"data not base64":   {func(b *builder) { b.extra = "<data>#</data>" }, "the property list has data that is not base64"},
		"sector count":      {entry(put64(16, maxSectors+1)), "sector count 131073 for the chunk at sector 16 is larger than max (131072)"},
		"length":            {entry(put64(32, maxStored+1)), "length 67108865 for the chunk at sector 16 is larger than max (67108864)"},
		"negative length":   {entry(put64(32, 1<<63)), "a chunk is stored at offset 0x2000 with length 0x8000000000000000"},
		"offset":            {entry(put64(24, 1<<63-1)), "a chunk is stored at offset 0x7fffffffffffffff with length 0x"},
		"sector":            {entry(put64(8, 1<<62)), "a chunk of 48 sectors at sector 4611686018427387904"},
		"sectors overlap":   {entry(put64(8, 15)), "sector 15 is in two chunks"},
		"raw, too short":    {entry(func(p []byte) { put32(0, kindRaw)(p); put64(32, 48*512-1)(p) }), "the chunk at sector 16 has 24575 bytes for 48 sectors"},
		"fork too small":    {fork(put64(0x30, 15)), "the resource fork is cut short"},
		"fork cut short":    {fork(put64(0x30, 300)), "the resource fork says that its data lies outside of it"},
	} {
		b := b
		tc.change(&b)
		image := b.image()
		i := mustOpen(t, image)
		var damaged *disk.FormatError
		if err := i.Info().Refused; !errors.As(err, &damaged) || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %s", name, err, tc.want)
		}
		if i.Size() != 150*512 {
			t.Errorf("%s: size %d", name, i.Size())
		}
		if _, err := i.ReadAt(make([]byte, 1), 0); !errors.Is(err, i.Info().Refused) {
			t.Errorf("%s: read: %v", name, err)
		}
		if _, err := i.Extent(0, 1); !errors.Is(err, i.Info().Refused) {
			t.Errorf("%s: extent: %v", name, err)
		}
	}
}

func TestParseResourcesRefuses(t *testing.T) {
	t.Parallel()
	head := func(offset, length uint32, data ...byte) []byte {
		p := binary.BigEndian.AppendUint32(nil, offset)
		p = binary.BigEndian.AppendUint32(p, 0)
		p = binary.BigEndian.AppendUint32(p, length)
		return append(append(p, 0, 0, 0, 0), data...)
	}
	for name, p := range map[string][]byte{
		"no data":             head(16, 0),
		"data beyond":         head(16, 5, 0, 0, 0, 0),
		"offset beyond":       head(math.MaxUint32, math.MaxUint32),
		"length cut short":    head(16, 3, 0, 0, 0),
		"resource of nothing": head(16, 4, 0, 0, 0, 0),
		"resource too long":   head(16, 6, 0, 0, 0, 3, 1, 1),
	} {
		if err := parseResources(p, func([]byte) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// One chunk that cannot be read is an error there, and only there.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	content := text(4096, "x")
	good := deflated(content)
	for name, tc := range map[string]struct {
		chunk stored
		end   int // bytes by which the trailer is nearer; the chunk is cut off
		want  string
	}{
		"zlib, damaged":    {stored{kindZlib, 8, []byte("nonsense")}, 0, "the chunk at sector 8: compressed data is damaged"},
		"zlib, cut short":  {stored{kindZlib, 8, good[:len(good)-8]}, 0, "the chunk at sector 8: compressed data ends early"},
		"zlib, too little": {stored{kindZlib, 9, good}, 0, "the chunk at sector 8: compressed data ends early"},
		"zlib, too much":   {stored{kindZlib, 7, good}, 0, "the chunk at sector 8: compressed data goes on"},
		"zlib, checksum":   {stored{kindZlib, 8, append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1)}, 0, "the chunk at sector 8: checksum of data does not match"},
		"bzip2, damaged":   {stored{kindBzip2, 8, []byte("nonsense")}, 0, "the chunk at sector 8: bzip2 data invalid: bad magic value"},
		"adc, cut short":   {stored{kindADC, 8, []byte{0x80, 1}}, 0, "the chunk at sector 8: adc: compressed data ends early"},
		"adc, distance":    {stored{kindADC, 8, []byte{0x80, 1, 0x40, 0, 1}}, 0, "the chunk at sector 8: adc: reference to what comes before the start"},
		"adc, too much":    {stored{kindADC, 1, bytes.Repeat([]byte{0x83, 1, 2, 3, 4}, 129)[:1+5*128]}, 0, ""},
		"lzfse, damaged":   {stored{kindLZFSE, 8, []byte("nonsense")}, 0, "the chunk at sector 8: lzfse: unknown block"},
		"lzma":             {stored{0x80000008, 8, []byte("xz")}, 0, "the chunk at sector 8 is of kind 0x80000008, which is not supported (LZMA)"},
		"unknown":          {stored{0x80000042, 8, []byte("?")}, 0, "the chunk at sector 8 is of kind 0x80000042, which is not supported"},
	} {
		b := builder{chunks: []stored{{kindRaw, 8, content}, tc.chunk, {kindRaw, 8, content}}}
		i := mustOpen(t, b.image())
		for range 2 { // the second time from what is kept
			_, err := i.ReadAt(make([]byte, 512), 8*512)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || err.Error() != tc.want) {
				t.Errorf("%s: %v; want %s", name, err, tc.want)
			}
		}
		got := make([]byte, len(content))
		for _, at := range []int64{0, int64(8+tc.chunk.sectors) * 512} {
			if _, err := i.ReadAt(got, at); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: what is beside it: %v", name, err)
			}
		}
	}
}

// Sectors that no chunk speaks of are errors, and so are chunks that the file
// does not have.
func TestGaps(t *testing.T) {
	t.Parallel()
	b, want := mixed()
	b.first = 10
	b.sectors = int64(len(want)/512) + 20
	b.entry = func(k int, p []byte) {
		if k == len(b.chunks)-1 {
			put64(24, 1<<20)(p)
		}
	}
	i := mustOpen(t, b.image())
	for _, tc := range []struct {
		sector int64
		want   string
	}{
		{0, "sector 0 is in no chunk"},
		{9, "sector 9 is in no chunk"},
		{10, ""},
		{10 + 118, "the chunk at sector 128 is stored behind the end of the file"},
		{10 + 150, "sector 160 is in no chunk"},
		{10 + 150 + 9, "sector 169 is in no chunk"},
	} {
		_, err := i.ReadAt(make([]byte, 512), tc.sector*512)
		_, extent := i.Extent(tc.sector*512, 512)
		for _, err := range []error{err, extent} {
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || err.Error() != tc.want) {
				t.Errorf("sector %d: %v; want %s", tc.sector, err, tc.want)
			}
		}
	}
}

// Chunks greater than what is kept are read as well, a piece at a time.
func TestLargeChunks(t *testing.T) {
	t.Parallel()
	var b builder
	want := []byte{}
	for k := range 3 {
		content := bytes.Repeat(text(1<<16, strings.Repeat("large", k+1)), 5<<20>>16*(k*3+1)) // 5, 20, 35 MiB
		b.chunks = append(b.chunks, stored{kindZlib, uint64(len(content) / 512), deflated(content)})
		want = append(want, content...)
	}
	i := mustOpen(t, b.image())
	const piece = 4<<20 + 512
	got := make([]byte, piece)
	for at := 0; at < len(want); at += piece {
		n := min(piece, len(want)-at)
		if _, err := i.ReadAt(got[:n], int64(at)); err != nil || !bytes.Equal(got[:n], want[at:at+n]) {
			t.Fatalf("piece at %d: %v; content equal: %t", at, err, bytes.Equal(got[:n], want[at:at+n]))
		}
	}
	if kept := i.(*image).cache.bytes; kept > maxStored {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	b, _ := mixed()
	var unsupported *disk.UnsupportedError
	if _, err := Format.Open(disktest.File(b.image()), disk.OpenOptions{Snapshot: "1"}); !errors.As(err, &unsupported) {
		t.Error(err)
	}
}

func TestDetectedByNameAndTrailer(t *testing.T) {
	t.Parallel()
	raw := disk.Format{Name: "raw", Probe: func([]byte) int { return 1 }}
	other := disk.Format{Name: "other", Probe: func(p []byte) int { return int(p[0]) }}
	formats := disk.NewRegistry(other, Format, raw)
	b, _ := mixed()
	image := b.image()
	image[0] = 0
	claimed := bytes.Clone(image)
	claimed[0] = 100
	for _, tc := range []struct {
		image        []byte
		suffix, want string
	}{
		{image, ".dmg", "dmg"},
		{image, "", "raw"},
		{image, ".img", "raw"},
		{image, ".DMG", "raw"},
		{image[:len(image)-1], ".dmg", "raw"},
		{image[:100], ".dmg", "raw"},
		{claimed, ".dmg", "other"},
	} {
		if got, err := formats.Detect(disktest.File(tc.image), tc.suffix); err != nil || got.Name != tc.want {
			t.Errorf("%d bytes named %q: %s, %v; want %s", len(tc.image), tc.suffix, got.Name, err, tc.want)
		}
	}
	if got, err := formats.Resembles(disktest.File(image)); err != nil || got != "dmg" {
		t.Errorf("resembles %q, %v", got, err)
	}
}

func TestDecodeADC(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, 5000, 200000} {
		want := text(n, "adc")
		if got, err := decodeADC(nil, adc(want), n); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzADC(f *testing.F) {
	f.Add(adc(text(3000, "adc")))
	f.Add([]byte{0x80, 1, 0x7f, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		if out, err := decodeADC(nil, p, 3000); err == nil && len(out) != 3000 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

// What is mutated is where it matters: the trailer, a table, the data.
func FuzzOpen(f *testing.F) {
	b, _ := sample(f)
	small, _ := mixed()
	for _, b := range []builder{b, small} {
		var data []byte
		for _, c := range b.chunks {
			data = append(data, c.data...)
		}
		var table []byte
		b.table = func(p []byte) []byte { table = bytes.Clone(p); return p }
		image := b.image()
		trailer := image[len(image)-trailerSize:]
		f.Add(trailer[0x18:0x40], trailer[0x1ec:0x1f4], table[4:32], table[tableHeader:], data, false)
		f.Add(trailer[0x18:0x40], trailer[0x1ec:0x1f4], table[4:32], table[tableHeader:], data, true)
	}
	f.Fuzz(func(t *testing.T, forks, sectors, head, entries, data []byte, fork bool) {
		b := builder{
			chunks:  []stored{{kindRaw, 1, data}},
			fork:    fork,
			trailer: func(p []byte) { copy(p[0x18:0x28], forks); copy(p[0x1ec:0x1f4], sectors) },
			table: func(p []byte) []byte {
				copy(p[4:32], head)
				return append(p[:tableHeader], entries...)
			},
		}
		disktest.Survive(t, Format, b.image(), disk.OpenOptions{})
	})
}

func FuzzForks(f *testing.F) {
	table := builder{}.tableOf([][]byte{make([]byte, chunkSize)})
	f.Add(plistOf([][]byte{table, table}, ""))
	f.Add(forkOf([][]byte{table, table}))
	f.Add([]byte("<data>AA==</data><data>"))
	f.Fuzz(func(t *testing.T, p []byte) {
		total := 0
		add := func(p []byte) error { total += len(p); return nil }
		_ = parseResources(bytes.Clone(p), add)
		_ = parsePlist(bytes.Clone(p), add)
		if total > 2*len(p) {
			t.Fatalf("%d bytes of %d", total, len(p))
		}
	})
}
