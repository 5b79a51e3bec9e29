package deflate

import (
	"bytes"
	stdflate "compress/flate"
	stdzlib "compress/zlib"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/flate"

	"instar/disk/internal/inflate"
)

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

// check has three libraries read what was made of data, and no match go farther
// back than the window.
func check(t testing.TB, data, stream []byte, window int) {
	t.Helper()
	if got := make([]byte, len(data)); inflate.Raw(got, stream) != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes: our own decoder: %v", len(data), inflate.Raw(got, stream))
	}
	for name, r := range map[string]io.Reader{
		"standard": stdflate.NewReader(bytes.NewReader(stream)), "klauspost": flate.NewReader(bytes.NewReader(stream)),
	} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %s: %v", len(data), name, err)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200<<10)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	skewed := make([]byte, 64<<10) // code words longer than 15 bits without a bound
	for i, a, b := 0, 1, 1; i < len(skewed); a, b = b, a+b {
		for range min(a, len(skewed)-i) {
			skewed[i] = byte(b % 251)
			i++
		}
	}
	random.Shuffle(len(skewed), func(i, j int) { skewed[i], skewed[j] = skewed[j], skewed[i] })
	inputs := append(binaries(t, 6), nil, []byte{1}, []byte("abcabcabcabcabc"), make([]byte, 2<<20), noise, skewed,
		bytes.Repeat([]byte("0123456789abcdefg"), 9000), append(bytes.Clone(noise[:70000]), make([]byte, 70000)...))
	for n := range 40 {
		inputs = append(inputs, bytes.Repeat([]byte{0, 1}, n), noise[:n])
	}
	for _, level := range []Level{Fast, Best} {
		for _, window := range []int{256, 4096, MaxWindow} {
			e := New(window, level)
			for _, data := range inputs {
				before := []byte("before")
				out := e.Append(before, data)
				if !bytes.HasPrefix(out, before) {
					t.Fatal("what was there before is gone")
				}
				check(t, data, out[len(before):], window)
				if again := New(window, level).Append(nil, data); !bytes.Equal(again, out[len(before):]) {
					t.Fatalf("%d bytes: the output depends on what was compressed before", len(data))
				}
				if most := len(data) + len(data)/1000 + 16; len(out)-len(before) > most {
					t.Errorf("%d bytes became %d", len(data), len(out)-len(before))
				}
			}
		}
	}
}

func TestZlib(t *testing.T) {
	for _, window := range []int{256, 4096, MaxWindow} {
		for _, data := range append(binaries(t, 1), nil) {
			r, err := stdzlib.NewReader(bytes.NewReader(New(window, Fast).AppendZlib(nil, data)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("window %d: %v", window, err)
			}
		}
	}
}

// No match goes farther back than the window: what is repeated farther away
// does not get smaller.
func TestWindowIsKept(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	part := make([]byte, 5000)
	for i := range part {
		part[i] = byte(random.Uint32())
	}
	data := append(bytes.Clone(part), part...)
	if n := len(New(4096, Best).Append(nil, data)); n < len(data) {
		t.Errorf("%d bytes became %d: a match is too far away", len(data), n)
	}
	if n := len(New(8192, Best).Append(nil, data)); n > len(data)*6/10 {
		t.Errorf("%d bytes became %d: no match was found", len(data), n)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	data := binaries(t, 1)[0]
	e := New(4096, Fast)
	out := e.Append(nil, data)
	if n := testing.AllocsPerRun(20, func() { out = e.Append(out[:0], data) }); n > 0 {
		t.Errorf("%v allocations for a cluster", n)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("abcabc"), uint8(4), true)
	f.Add(bytes.Repeat([]byte{0}, 1000), uint8(0), false)
	f.Fuzz(func(t *testing.T, data []byte, window uint8, best bool) {
		level := Fast
		if best {
			level = Best
		}
		size := 256 << (window % 8)
		check(t, data, New(size, level).Append(nil, data), size)
	})
}

// BenchmarkAppend compresses 64 KiB clusters of a program with the window of
// qcow2. The ratio is that of the output to the input.
func BenchmarkAppend(b *testing.B) {
	clusters := binaries(b, 64)
	if name := os.Getenv("DEFLATE_INPUT"); name != "" {
		p, _ := os.ReadFile(name)
		clusters = nil
		for len(p) >= 64<<10 && len(clusters) < 512 {
			clusters, p = append(clusters, p[:64<<10]), p[64<<10:]
		}
	}
	run := func(name string, compress func(dst, src []byte) []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(clusters)) * 64 << 10)
			var out []byte
			total := 0
			for b.Loop() {
				total = 0
				for _, src := range clusters {
					out = compress(out[:0], src)
					total += len(out)
				}
			}
			b.ReportMetric(float64(total)/float64(len(clusters)<<16), "ratio")
		})
	}
	fast, best := New(4096, Fast), New(4096, Best)
	run("fast", fast.Append)
	run("best", best.Append)
	var buffer bytes.Buffer
	w, err := flate.NewWriterWindow(&buffer, 4096)
	if err != nil {
		b.Fatal(err)
	}
	run("klauspost", func(dst, src []byte) []byte {
		buffer.Reset()
		w.Reset(&buffer)
		_, _ = w.Write(src)
		_ = w.Close()
		return append(dst, buffer.Bytes()...)
	})
}
