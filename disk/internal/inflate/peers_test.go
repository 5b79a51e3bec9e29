package inflate

import (
	"bytes"
	stdflate "compress/flate"
	stdzlib "compress/zlib"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/flate"
)

// readRaw fills dst with what another library makes of src.
func readRaw(r io.Reader, dst []byte) error {
	_, err := io.ReadFull(r, dst)
	return err
}

// binaries returns clusters of a real program: this one.
func binaries(t testing.TB, most int) [][]byte {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var clusters [][]byte
	for range most {
		p := make([]byte, 64<<10)
		if _, err := io.ReadFull(f, p); err != nil {
			break
		}
		clusters = append(clusters, p)
	}
	return clusters
}

// Streams of every level, of both libraries, give back what went in, whatever
// the content and wherever the output ends.
func TestStreamsOfOthers(t *testing.T) {
	clusters := append(binaries(t, 8), make([]byte, 64<<10), bytes.Repeat([]byte("abc"), 9999), []byte{7}, nil)
	noise := make([]byte, 40000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	clusters = append(clusters, noise)
	for k, data := range clusters {
		for level := -2; level <= 9; level++ {
			for name, stream := range map[string][]byte{"standard": deflated(t, data, level), "klauspost": deflatedFast(t, data, level)} {
				for _, n := range []int{len(data), len(data) * 2 / 3, max(len(data)-20, 0)} {
					dst := bytes.Repeat([]byte{0xa5}, n)
					if err := Raw(dst, stream); err != nil || !bytes.Equal(dst, data[:n]) {
						t.Fatalf("content %d, %s, level %d, %d bytes: %v", k, name, level, n, err)
					}
				}
				if err := Raw(make([]byte, len(data)+1), stream); err == nil {
					t.Errorf("content %d, %s, level %d: more than there is", k, name, level)
				}
			}
		}
	}
}

func deflated(t testing.TB, data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := stdflate.NewWriter(&b, level)
	return written(t, &b, w, err, data)
}

func deflatedFast(t testing.TB, data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	return written(t, &b, w, err, data)
}

func written(t testing.TB, b *bytes.Buffer, w io.WriteCloser, err error, data []byte) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is refused is refused with its own error.
func TestErrors(t *testing.T) {
	stored := []byte{1, 3, 0, 0xfc, 0xff, 'a', 'b', 'c'}
	for name, test := range map[string]struct {
		src  []byte
		want error
	}{
		"stored":                    {stored, nil},
		"nothing":                   {nil, ErrLength},
		"stored, cut short":         {stored[:7], ErrLength},
		"stored, no length":         {stored[:2], ErrLength},
		"stored, length is damaged": {[]byte{1, 3, 0, 0xfc, 0xfe, 'a', 'b', 'c'}, ErrCorrupt},
		"block of no type":          {[]byte{7}, ErrCorrupt},
		"fixed, ends at once":       {[]byte{3, 0}, ErrLength},
		"fixed, distance too far":   {[]byte{0x4b, 4, 0x22, 0, 0}, ErrCorrupt},
		"too many literals":         {[]byte{5 | 31<<3, 0, 0, 0, 0}, ErrCorrupt},
		"no code at all":            {make([]byte, 64), ErrLength},
	} {
		if name == "no code at all" {
			test.src[0] = 5
			test.want = ErrCorrupt
		}
		if err := Raw(make([]byte, 3), test.src); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, not %v", name, err, test.want)
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	data := binaries(t, 1)[0]
	stream, dst := deflated(t, data, 6), make([]byte, len(data))
	if n := testing.AllocsPerRun(100, func() {
		if err := Raw(dst, stream); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations for a cluster", n)
	}
}

// FuzzRaw compares with both libraries: the same bytes where a stream is taken,
// and the same streams are taken, but for these, where zlib does as we do and
// they do not: a block whose code has no end and a precode with unused words
// are refused, and the last code word needs no bits behind it.
func FuzzRaw(f *testing.F) {
	for _, data := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("abcd"), 200), make([]byte, 1000)} {
		for _, level := range []int{0, 1, 6, 9, -2} {
			f.Add(deflated(f, data, level), uint16(len(data)))
			f.Add(deflatedFast(f, data, level), uint16(len(data)+1))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, n uint16) {
		got, other, third := make([]byte, n), make([]byte, n), make([]byte, n)
		err := Raw(got, src)
		if err == nil {
			src = append(bytes.Clone(src), 0, 0)
		}
		errOther := readRaw(flate.NewReader(bytes.NewReader(src)), other)
		errThird := readRaw(stdflate.NewReader(bytes.NewReader(src)), third)
		switch {
		case err == nil && (errOther != nil || errThird != nil):
			t.Fatalf("taken, but klauspost says %v and the standard library %v", errOther, errThird)
		case err == nil && (!bytes.Equal(got, other) || !bytes.Equal(got, third)):
			t.Fatal("the bytes differ")
		case err != nil && errOther == nil && errThird == nil && !errors.Is(err, errNoEnd) && !errors.Is(err, errPrecode):
			t.Fatalf("refused with %v, others take it", err)
		}
	})
}

// FuzzZlib compares with the standard library. What a stream holds beyond the
// output is not looked at.
func FuzzZlib(f *testing.F) {
	for _, data := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("abcd"), 200)} {
		var b bytes.Buffer
		f.Add(bytes.Clone(written(f, &b, stdzlib.NewWriter(&b), nil, data)), uint16(len(data)))
	}
	f.Fuzz(func(t *testing.T, src []byte, n uint16) {
		got := make([]byte, n)
		err := Zlib(got, src)
		r, errOther := stdzlib.NewReader(bytes.NewReader(src))
		var other []byte
		if errOther == nil {
			other, errOther = io.ReadAll(io.LimitReader(r, int64(n)+1))
		}
		switch {
		case err == nil && len(other) <= int(n) && (errors.Is(errOther, stdzlib.ErrChecksum) || errors.Is(errOther, stdzlib.ErrHeader)):
			t.Fatalf("taken, but the standard library says %v", errOther)
		case err == nil && errOther == nil && !bytes.Equal(got, other[:n]):
			t.Fatal("the bytes differ")
		case err != nil && errOther == nil && len(other) >= int(n) && !errors.Is(err, errNoEnd) && !errors.Is(err, errPrecode):
			t.Fatalf("refused with %v, the standard library takes it", err)
		}
	})
}

// BenchmarkRaw inflates 64 KiB clusters of a program, as zlib's default level
// would store them.
func BenchmarkRaw(b *testing.B) {
	clusters := binaries(b, 64)
	var streams [][]byte
	for _, data := range clusters {
		streams = append(streams, bytes.Clone(deflated(b, data, 6)))
	}
	dst := make([]byte, 64<<10)
	run := func(name string, inflate func(src []byte) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(streams)) * int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				for _, src := range streams {
					if err := inflate(src); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	run("own", func(src []byte) error { return Raw(dst, src) })
	var src bytes.Reader
	fast, std := flate.NewReader(&src), stdflate.NewReader(&src)
	run("klauspost", func(stream []byte) error {
		src.Reset(stream)
		if err := fast.(flate.Resetter).Reset(&src, nil); err != nil {
			return err
		}
		return readRaw(fast, dst)
	})
	run("standard", func(stream []byte) error {
		src.Reset(stream)
		if err := std.(stdflate.Resetter).Reset(&src, nil); err != nil {
			return err
		}
		return readRaw(std, dst)
	})
}
