package vhdx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"instar/disk"
	"instar/disk/disktest"
)

// page returns a page of one byte, again and again.
func page(c byte) []byte { return bytes.Repeat([]byte{c}, logUnit) }

// zeroDisk is a disk of one block, all of which is stored, with a log.
func zeroDisk(log ...[]byte) builder {
	return builder{size: 1 << 20, data: make([]byte, 1<<20), bat: map[int]uint64{0: present(4)}, logID: logID, log: log}
}

const zeroDiskSize = dataAt + 1<<20

// first returns the byte that the disk begins with.
func first(t *testing.T, x builder) byte {
	t.Helper()
	var p [1]byte
	if _, err := mustOpen(t, x.image()).ReadAt(p[:], 0); err != nil {
		t.Fatal(err)
	}
	return p[0]
}

func TestActiveSequence(t *testing.T) {
	put := func(sequence uint64, tail uint32, c byte) []byte {
		return entry(sequence, tail, zeroDiskSize, change{at: dataAt, page: page(c)})
	}
	const unit = 2 * logUnit // of these entries
	free := make([]byte, logUnit)
	damaged := put(9, 0, 'x')
	damaged[200] ^= 1
	other := put(9, 0, 'x')
	other[32] = 0xff
	seal(other)
	for name, test := range map[string]struct {
		log  [][]byte
		want byte
	}{
		"one":                          {[][]byte{put(5, 0, 'a')}, 'a'},
		"two":                          {[][]byte{put(5, 0, 'a'), put(6, 0, 'b')}, 'b'},
		"tail behind the first":        {[][]byte{put(5, 0, 'a'), put(6, unit, 'b')}, 'b'},
		"not at the start":             {[][]byte{free, free, free, put(5, 3*logUnit, 'a')}, 'a'},
		"sequence numbers with a gap":  {[][]byte{put(5, 0, 'a'), put(7, unit, 'b')}, 'b'},
		"older behind newer":           {[][]byte{put(8, 0, 'a'), put(5, unit, 'b')}, 'a'},
		"tail outside of its sequence": {[][]byte{put(5, 0, 'a'), put(9, 100*logUnit, 'b')}, 'a'},
		"damaged behind":               {[][]byte{put(8, 0, 'a'), damaged}, 'a'},
		"damaged before":               {[][]byte{damaged, put(8, unit, 'a')}, 'a'},
		"of another log":               {[][]byte{put(8, 0, 'a'), other}, 'a'},
		"none":                         {nil, 0},
		"another's alone":              {[][]byte{other}, 0},
	} {
		if got := first(t, zeroDisk(test.log...)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	for name, change := range map[string]func(e []byte){
		"checksum":          func(e []byte) { e[4]++ },
		"length":            func(e []byte) { binary.LittleEndian.PutUint32(e[8:], 100) },
		"length of 0":       func(e []byte) { binary.LittleEndian.PutUint32(e[8:], 0) },
		"length of 2 GiB":   func(e []byte) { binary.LittleEndian.PutUint32(e[8:], 1<<31) },
		"sequence of 0":     func(e []byte) { binary.LittleEndian.PutUint64(e[16:], 0); seal(e) },
		"many descriptors":  func(e []byte) { binary.LittleEndian.PutUint32(e[24:], 1<<31); seal(e) },
		"descriptor":        func(e []byte) { e[64] = 'D'; seal(e) },
		"its sequence":      func(e []byte) { e[64+24]++; seal(e) },
		"its place":         func(e []byte) { e[64+16]++; seal(e) },
		"its far place":     func(e []byte) { e[64+23] = 0xff; seal(e) },
		"data":              func(e []byte) { e[logUnit] = 'D'; seal(e) },
		"sequence of data":  func(e []byte) { e[logUnit+4]++; seal(e) },
		"its end":           func(e []byte) { e[2*logUnit-4]++; seal(e) },
		"two for one datum": func(e []byte) { copy(e[96:128], e[64:96]); e[24] = 2; seal(e) },
	} {
		e := put(5, 0, 'a')
		change(e)
		checkRefused(t, name, zeroDisk(e).image(), "VHDX log is damaged")
	}
}

// The log is a ring, and a sequence may go around its end, within an entry too.
func TestLogRing(t *testing.T) {
	const start = 1<<20 - 3*logUnit
	one := entry(5, start, zeroDiskSize, change{at: dataAt, page: page('a')})
	two := entry(6, start, zeroDiskSize, change{at: dataAt + logUnit, page: page('b')}, change{at: dataAt + 2*logUnit, page: page('c')})
	ring := make([]byte, 1<<20)
	copy(ring[start:], one)
	n := copy(ring[start+len(one):], two)
	copy(ring, two[n:])
	got := all(t, mustOpen(t, zeroDisk(ring).image()))
	want := append(append(page('a'), page('b')...), page('c')...)
	if !bytes.Equal(got[:3*logUnit], want) {
		t.Errorf("%q", []byte{got[0], got[logUnit], got[2*logUnit]})
	}
}

func TestLogRefusals(t *testing.T) {
	le := binary.LittleEndian
	log := entry(5, 0, zeroDiskSize, change{at: dataAt, page: page('a')})
	header := func(put func(h []byte)) func([]byte) {
		return func(b []byte) { put(b[headerAt:]); put(b[secondAt:]) }
	}
	for _, test := range []struct {
		name   string
		log    []byte
		change func(b []byte)
		want   string
	}{
		{"file cut short", entry(5, 0, zeroDiskSize+1, change{at: dataAt, page: page('a')}), nil, "VHDX file of 5242880 bytes has been truncated: its log expects 5242881"},
		{"length", log, header(func(h []byte) { le.PutUint32(h[68:], 1<<20-1) }), "VHDX log at offset 1048576 of 1048575 bytes"},
		{"place", log, header(func(h []byte) { le.PutUint64(h[72:], 4096) }), "VHDX log at offset 4096 of 1048576 bytes"},
		{"place in the header", log, header(func(h []byte) { le.PutUint64(h[72:], 0) }), "VHDX log at offset 0 of 1048576 bytes"},
		{"far place", log, header(func(h []byte) { le.PutUint64(h[72:], 1<<63-1<<20) }), "VHDX log at offset 9223372036853727232 of 1048576 bytes"},
		{"too long", log, header(func(h []byte) { le.PutUint32(h[68:], 1<<30) }), "VHDX log of 1073741824 bytes is too large to replay"},
	} {
		x := zeroDisk(test.log)
		x.change = test.change
		checkRefused(t, test.name, x.image(), test.want)
	}
	long := entry(5, 0, zeroDiskSize, change{at: dataAt, page: page('a')})
	le.PutUint64(long[56:], 1<<63)
	seal(long)
	checkRefused(t, "file of 8 EiB", zeroDisk(long).image(), "VHDX file of 5242880 bytes has been truncated: its log expects 5242880")

	var zeros []change
	for range maxZeros + 1 {
		zeros = append(zeros, change{at: dataAt, zeros: logUnit})
	}
	checkRefused(t, "runs of zeros", zeroDisk(entry(5, 0, zeroDiskSize, zeros...)).image(), "VHDX log has more than 1024 runs of zeros to replay")
}

// A log of zero length, or without an ID, is no log.
func TestNoLog(t *testing.T) {
	x := zeroDisk(entry(5, 0, zeroDiskSize, change{at: dataAt, page: page('a')}))
	x.logID = guid{}
	if first(t, x) != 0 || mustOpen(t, x.image()).Info().Dirty {
		t.Error("a log without an ID was replayed")
	}
	x.logID = logID
	x.change = func(b []byte) { clear(b[headerAt+68:][:4]); clear(b[secondAt+68:][:4]) }
	if first(t, x) != 0 {
		t.Error("a log without a length was replayed")
	}
}

// Entries that lie in one another do not make the search quadratic.
func TestNestedEntries(t *testing.T) {
	ring := make([]byte, 1<<20)
	for at := len(ring) - logUnit; at >= 0; at -= logUnit {
		e := ring[at:]
		copy(e, entry(5, 4, zeroDiskSize)) // its tail is in no sequence
		binary.LittleEndian.PutUint32(e[8:], uint32(len(e)))
		seal(e)
	}
	checkRefused(t, "nested", zeroDisk(ring).image(), "VHDX log is made to be searched without end")
}

// What the log makes of the file: its length, and that it is dirty.
func TestReplayed(t *testing.T) {
	grown := uint64(dataAt + 2<<20)
	bat := make([]byte, logUnit)
	binary.LittleEndian.PutUint64(bat, present(5))
	e := entry(5, 0, zeroDiskSize, change{at: batAt, page: bat}, change{at: dataAt + 1<<20, page: page('z')})
	binary.LittleEndian.PutUint64(e[56:], grown)
	seal(e)
	i := mustOpen(t, zeroDisk(e).image())
	got := all(t, i)
	if !bytes.Equal(got[:logUnit], page('z')) || len(bytes.Trim(got[logUnit:], "\x00")) > 0 {
		t.Error("content differs")
	}
	if !i.Info().Dirty {
		t.Error("not dirty")
	}
}

// Where the log makes the file longer, there is nothing in the file to be copied.
func TestExtentBehindTheFile(t *testing.T) {
	bat := make([]byte, logUnit)
	binary.LittleEndian.PutUint64(bat, present(5))
	e := entry(5, 0, zeroDiskSize, change{at: batAt, page: bat})
	binary.LittleEndian.PutUint64(e[56:], dataAt+2<<20)
	seal(e)
	x, err := mustOpen(t, zeroDisk(e).image()).Extent(0, 1<<20)
	if err != nil || x.Kind != disk.Encoded || x.Length != 1<<20 {
		t.Errorf("%+v, %v", x, err)
	}
}

// Content that the log does not change is where it was, so that it can be
// copied from there.
func TestExtentsOfReplayed(t *testing.T) {
	x := zeroDisk(entry(5, 0, zeroDiskSize, change{at: dataAt, page: page('a')}))
	x.size, x.data = 3<<20, make([]byte, 3<<20)
	x.bat = map[int]uint64{0: present(4), 1: present(6), 2: present(5)}
	i := mustOpen(t, x.image())
	for off, want := range map[int64]disk.Kind{0: disk.Encoded, 1 << 20: disk.Data, 2 << 20: disk.Data} {
		e, err := i.Extent(off, 1<<30)
		if err != nil || e.Kind != want {
			t.Errorf("at %d: %+v, %v", off, e, err)
		}
	}
}

// A replayed file reads as one that was written to.
func TestReplayedFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const pages = 40
		content := bytes.Repeat([]byte("0123456"), pages*logUnit/7)
		size := rapid.IntRange(len(content), pages*logUnit).Draw(t, "size")
		want := append(bytes.Clone(content), make([]byte, size-len(content))...)
		r := &replayed{File: disktest.File(content), size: int64(size), pages: map[int64][]byte{}}
		for range rapid.IntRange(0, 8).Draw(t, "changes") {
			at := rapid.IntRange(0, pages-1).Draw(t, "page")
			if rapid.Bool().Draw(t, "zero") {
				n := rapid.IntRange(0, pages-at).Draw(t, "pages")
				if err := r.zero(int64(at*logUnit), int64(n*logUnit)); err != nil {
					t.Fatal(err)
				}
				clear(want[min(at*logUnit, size):min((at+n)*logUnit, size)])
				continue
			}
			p := page(rapid.Byte().Draw(t, "byte"))
			r.pages[int64(at*logUnit)] = p
			if at*logUnit < size {
				copy(want[at*logUnit:], p)
			}
		}
		start := rapid.IntRange(0, size-1).Draw(t, "start")
		end := rapid.IntRange(start, size).Draw(t, "end")
		got := make([]byte, end-start)
		if n, err := r.ReadAt(got, int64(start)); n != len(got) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if !bytes.Equal(got, want[start:end]) {
			t.Fatal("content differs")
		}
		if same := bytes.Equal(got, content[min(start, len(content)):min(end, len(content))]); !same && end <= len(content) &&
			!r.changes(int64(start), int64(end)) {
			t.Fatal("a change is not told of")
		}
	})
}

// An error of the file is no damage of the log.
func TestLogReadError(t *testing.T) {
	image := zeroDisk(entry(5, 0, zeroDiskSize, change{at: dataAt, page: page('a')})).image()
	_, err := Format.Open(failing{disktest.File(image)}, disk.OpenOptions{})
	if !errors.Is(err, errRead) || strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
}

var errRead = errors.New("the disk is on fire")

// A failing file cannot be read where the log is.
type failing struct{ disk.File }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off >= logAt && off < batAt {
		return 0, errRead
	}
	return f.File.ReadAt(p, off)
}
