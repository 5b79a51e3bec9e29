// Package disktest has the tests that every image format must pass.
//
// A format's own test makes an image, says what its content is, and calls
// [Run]; its fuzz targets call [Survive].
package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"instar/disk"
)

// A Config is one image and what is known about it.
type Config struct {
	Format disk.Format
	// Image is the image file. A few MiB at most: it is cut and damaged many
	// times.
	Image []byte
	// Options are what Format.Open needs besides the file.
	Options disk.OpenOptions
	// Want is the content: what the image shows with nothing below it.
	Want []byte
	// Headless says that nothing in the image tells its format, as in a raw
	// image: Probe need not recognize it.
	Headless bool
	// Costly reports that a damaged copy of the image asks for more than can be
	// done in a test, as in a number of iterations; it is left out. nil is never.
	Costly func(image []byte) bool
}

// Run tests that an image is read as [disk.Image] promises: content by any
// window, extents, ends, concurrent use; and that copies of it which are cut
// short or damaged do no harm.
func Run(t *testing.T, c Config) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, Config)
	}{
		{"description", testDescription},
		{"windows", testWindows},
		{"extents", testExtents},
		{"ends", testEnds},
		{"concurrent", testConcurrent},
		{"truncated", testTruncated},
		{"damaged", testDamaged},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}

// File returns an image file with the given content.
func File(content []byte) disk.File {
	return disk.NewFile(bytes.NewReader(content), int64(len(content)))
}

func (c Config) open(t *testing.T) disk.Image {
	t.Helper()
	img, err := c.Format.Open(File(c.Image), c.Options)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return img
}

// random returns a generator that gives the same numbers in every run.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// window returns a random window [start, end) of n > 0 bytes: some are small,
// some begin or end at a multiple of a power of two, or with the disk.
func window(r *rand.Rand, n int) (start, end int) {
	point := func() int {
		p := r.IntN(n + 1)
		switch r.IntN(4) {
		case 0:
			p &^= 1<<r.IntN(22) - 1
		case 1:
			p = []int{0, n}[r.IntN(2)]
		}
		return p
	}
	start, end = point(), point()
	if r.IntN(3) == 0 {
		end = min(n, start+1+r.IntN(2048))
	}
	return min(start, end), max(start, end)
}

func testDescription(t *testing.T, c Config) {
	img := c.open(t)
	if img.Size() != int64(len(c.Want)) || img.Info().VirtualSize != img.Size() {
		t.Errorf("Size = %d, Info().VirtualSize = %d; want %d", img.Size(), img.Info().VirtualSize, len(c.Want))
	}
	if img.Info().Format != c.Format.Name {
		t.Errorf("Info().Format = %q; want %q", img.Info().Format, c.Format.Name)
	}
	if head := c.Image[:min(len(c.Image), disk.ProbeSize)]; !c.Headless && c.Format.Probe(head) < 2 {
		t.Error("Probe does not recognize the image")
	}
}

func testWindows(t *testing.T, c Config) {
	img := c.open(t)
	compare(t, img, c.Want, 0, len(c.Want))
	r := random()
	for range 120 {
		start, end := window(r, len(c.Want))
		compare(t, img, c.Want, start, end)
	}
	// Small pieces in order, as a slow reader asks for them.
	for start := 0; start < min(len(c.Want), 1<<20); start += 1000 {
		compare(t, img, c.Want, start, min(start+1000, len(c.Want)))
	}
}

// compare compares the content in [start, end) with what it should be.
func compare(t *testing.T, d disk.Disk, want []byte, start, end int) {
	t.Helper()
	p := bytes.Repeat([]byte{0xa5}, end-start)
	n, err := d.ReadAt(p, int64(start))
	if n != len(p) && len(p) > 0 {
		t.Fatalf("ReadAt of [%d, %d) = %d, %v", start, end, n, err)
	}
	if at := difference(p, want[start:end]); at >= 0 {
		t.Fatalf("content of [%d, %d) differs at %d: %#x; want %#x", start, end, start+at, p[at], want[start+at])
	}
}

// difference returns where a and b, of one length, first differ; -1 is nowhere.
func difference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func testExtents(t *testing.T, c Config) {
	img := c.open(t)
	size := img.Size()
	for _, limit := range []int64{size + 1<<40, 1 << 20, 64 << 10, 1000, 513} {
		steps := 0
		for off := int64(0); off < size && steps < 5000; steps++ {
			e := extent(t, img, off, limit)
			compareExtent(t, e, c.Want)
			off = e.End()
		}
	}
	r := random()
	for range 120 {
		off := r.Int64N(max(size, 1))
		if off >= size {
			return
		}
		e := extent(t, img, off, 1+r.Int64N(size))
		start, end := window(r, int(e.Length))
		if start < end {
			compareExtent(t, e.Sub(off+int64(start), off+int64(end)), c.Want)
		}
	}
}

// extent returns the extent at off, which must keep to its promises.
func extent(t testing.TB, d disk.Disk, off, limit int64) disk.Extent {
	t.Helper()
	e, err := d.Extent(off, limit)
	if err != nil {
		t.Fatalf("Extent(%d, %d): %v", off, limit, err)
	}
	if err := check(e, d, off, limit); err != nil {
		t.Fatalf("Extent(%d, %d): %v", off, limit, err)
	}
	return e
}

// check says what is wrong with an extent as such.
func check(e disk.Extent, d disk.Disk, off, limit int64) error {
	switch {
	case e.Start != off:
		return fmt.Errorf("it starts at %d", e.Start)
	case e.Length < 1 || e.Length > limit:
		return fmt.Errorf("its length is %d", e.Length)
	case e.Length > d.Size()-off:
		return fmt.Errorf("it ends at %d, beyond the size %d", e.End(), d.Size())
	case e.Kind > disk.Encoded:
		return fmt.Errorf("its kind is %d", e.Kind)
	case e.Kind == disk.Data && (e.File == nil || e.Offset < 0):
		return fmt.Errorf("data in file %v at %d", e.File, e.Offset)
	case e.Kind == disk.Encoded && e.Layer == nil:
		return errors.New("encoded, and no layer to read it from")
	}
	return nil
}

// compareExtent compares what an extent reads as with what it should be.
func compareExtent(t *testing.T, e disk.Extent, want []byte) {
	t.Helper()
	p := bytes.Repeat([]byte{0xa5}, int(e.Length))
	if err := e.Read(p); err != nil {
		t.Fatalf("read of %v extent [%d, %d): %v", e.Kind, e.Start, e.End(), err)
	}
	if at := difference(p, want[e.Start:e.End()]); at >= 0 {
		t.Fatalf("%v extent [%d, %d) differs at %d: %#x; want %#x", e.Kind, e.Start, e.End(), e.Start+int64(at), p[at], want[e.Start+int64(at)])
	}
}

func testEnds(t *testing.T, c Config) {
	img := c.open(t)
	size := img.Size()
	for _, tc := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{
		{off: size, n: 1, want: 0, err: io.EOF},
		{off: size + 12345, n: 10, want: 0, err: io.EOF},
		{off: size - 1, n: 2, want: 1, err: io.EOF},
		{off: size - 700, n: 5000, want: 700, err: io.EOF},
		{off: 0, n: 0, want: 0},
	} {
		if tc.off < 0 || (size == 0 && tc.n == 0) {
			continue
		}
		n, err := img.ReadAt(make([]byte, tc.n), tc.off)
		if n != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("ReadAt of %d bytes at %d of %d = %d, %v; want %d, %v", tc.n, tc.off, size, n, err, tc.want, tc.err)
		}
	}
	if n, err := img.ReadAt(make([]byte, 1), -1); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("ReadAt at -1 = %d, %v; want an error", n, err)
	}
}

func testConcurrent(t *testing.T, c Config) {
	if len(c.Want) == 0 {
		t.Skip("nothing to read")
	}
	img := c.open(t)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(k)))
			for range 30 {
				start, end := window(r, len(c.Want))
				p := make([]byte, end-start)
				if n, err := img.ReadAt(p, int64(start)); n != len(p) {
					t.Errorf("ReadAt of [%d, %d) = %d, %v", start, end, n, err)
				}
				if !bytes.Equal(p, c.Want[start:end]) {
					t.Errorf("content of [%d, %d) differs", start, end)
				}
				if start < len(c.Want) {
					if _, err := img.Extent(int64(start), 1<<30); err != nil {
						t.Errorf("Extent at %d: %v", start, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func testTruncated(t *testing.T, c Config) {
	n := len(c.Image)
	lengths := []int{}
	for k := range 40 { // headers byte by byte, then roughly
		lengths = append(lengths, k*3, k*16, k*512, n-1-k*513)
	}
	for r, k := random(), 0; k < 40; k++ {
		lengths = append(lengths, r.IntN(n+1))
	}
	for _, length := range lengths {
		if length >= 0 && length < n {
			Survive(t, c.Format, c.Image[:length:length], c.Options)
		}
	}
}

func testDamaged(t *testing.T, c Config) {
	r := random()
	if len(c.Image) == 0 {
		return
	}
	image := bytes.Clone(c.Image)
	for k := range 600 {
		at := r.IntN(len(image))
		switch { // most of what matters is near the start
		case k < 200:
			at = k
		case k%3 == 0:
			at = r.IntN(min(len(image), 64<<10))
		}
		if at >= len(image) {
			continue
		}
		was := image[at]
		image[at] = byte(r.IntN(256))
		if k%4 == 0 {
			image[at] = was ^ 1<<r.IntN(8)
		}
		if c.Costly == nil || !c.Costly(image) {
			Survive(t, c.Format, image, c.Options)
		}
		image[at] = was
	}
}

// What reading a hostile image may cost in Survive.
const (
	mostExtents   = 2000
	mostContent   = 256 << 10 // bytes
	mostAllocated = 512 << 20
	mostTime      = 20 * time.Second
)

// Survive opens an image that nobody vouches for, lists extents and reads
// content. Any of it may fail, with an error; none may panic, take more time
// or memory than its bounds, or give an extent that is none.
func Survive(t testing.TB, f disk.Format, image []byte, o disk.OpenOptions) {
	t.Helper()
	start, allocated := time.Now(), allocatedBytes()
	if img, err := f.Open(File(image), o); err == nil {
		if err := explore(img); err != nil {
			t.Fatal(err)
		}
	} else if err.Error() == "" {
		t.Fatal("an error without a text")
	}
	if d := time.Since(start); d > mostTime {
		t.Errorf("took %v", d)
	}
	if n := allocatedBytes() - allocated; n > mostAllocated {
		t.Errorf("allocated %d bytes", n)
	}
}

// explore lists the first extents, some behind them, and reads a little of
// each.
func explore(img disk.Image) error {
	size := img.Size()
	if size < 0 || size%disk.SectorSize != 0 || img.Info() == nil {
		return fmt.Errorf("opened with size %d and description %v", size, img.Info())
	}
	buf := make([]byte, 16<<10)
	r, off, content := random(), int64(0), 0
	for k := range mostExtents {
		if off >= size {
			if off = 0; size == 0 || k > 1 {
				return nil
			}
		}
		e, err := img.Extent(off, size-off)
		if err != nil {
			off = r.Int64N(size)
			continue
		}
		if err := check(e, img, off, size-off); err != nil {
			return fmt.Errorf("Extent(%d, %d): %w", off, size-off, err)
		}
		if content < mostContent {
			if err := agree(img, e, buf[:min(int64(len(buf)), e.Length)]); err != nil {
				return err
			}
			content += int(min(int64(len(buf)), e.Length))
		}
		off = e.End()
	}
	return nil
}

// agree checks that reading the image and reading its extent give one content.
func agree(img disk.Image, e disk.Extent, p []byte) error {
	e = e.Sub(e.Start, e.Start+int64(len(p)))
	n, err := img.ReadAt(p, e.Start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	if n != len(p) {
		return fmt.Errorf("ReadAt of %d bytes at %d of %d = %d, %v", len(p), e.Start, img.Size(), n, err)
	}
	q := make([]byte, len(p))
	if err := e.Read(q); err != nil {
		return fmt.Errorf("extent at %d: %w; ReadAt reads it", e.Start, err)
	}
	if at := difference(p, q); at >= 0 {
		return fmt.Errorf("extent and ReadAt differ at %d", e.Start+int64(at))
	}
	return nil
}

// allocatedBytes returns how much has been allocated so far.
func allocatedBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
