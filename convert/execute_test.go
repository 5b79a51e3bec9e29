package convert_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"instar/convert"
	"instar/dd"
	"instar/disk"
	"instar/disk/raw"
	"instar/internal/zeros"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a disk made of parts.
type fake struct {
	parts  []part
	once   sync.Once
	stored []byte
	broken int64 // reads at or behind it fail; 0 is never
}

type part struct {
	kind   disk.Kind
	length int64
	fill   byte
}

var errBroken = errors.New("broken")

func (f *fake) Size() int64 {
	n := int64(0)
	for _, p := range f.parts {
		n += p.length
	}
	return n
}

func (f *fake) content() []byte {
	f.once.Do(func() { f.stored = f.lay() })
	return f.stored
}

func (f *fake) lay() []byte {
	var b []byte
	for _, p := range f.parts {
		fill := p.fill
		if p.kind == disk.Zero || p.kind == disk.Unallocated {
			fill = 0
		}
		b = append(b, bytes.Repeat([]byte{fill}, int(p.length))...)
	}
	return b
}

func (f *fake) ReadAt(p []byte, off int64) (int, error) {
	if f.broken > 0 && off+int64(len(p)) > f.broken {
		return 0, errBroken
	}
	return bytes.NewReader(f.content()).ReadAt(p, off)
}

func (f *fake) Extent(off, limit int64) (disk.Extent, error) {
	at := int64(0)
	for _, p := range f.parts {
		if off < at+p.length {
			e := disk.Extent{Start: off, Length: min(limit, at+p.length-off), Kind: p.kind}
			switch p.kind {
			case disk.Data:
				e.File, e.Offset = disk.NewFile(f, f.Size()), off
			case disk.Encoded:
				e.Layer = f
			}
			return e, nil
		}
		at += p.length
	}
	return disk.Extent{}, io.EOF
}

// memory is a target in memory.
type memory struct {
	mu        sync.Mutex
	p         []byte
	offloads  bool // CopyFrom works
	zeroes    bool // Zero works
	full      int64
	written   int64
	synced    bool
	cutsShort bool // CopyFrom copies half of what it is asked for
	sparse    int64
	spared    int64 // bytes that CopySparse came past
	copies    int   // calls of CopySparse that did
}

func (m *memory) SparseBlock() int64 { return m.sparse }

func (m *memory) CopySparse(src disk.File, srcOff, off, n int64, _ bool) (int64, error) {
	if m.full > 0 || !m.offloads {
		return 0, errors.ErrUnsupported
	}
	if m.cutsShort && n > 2*m.sparse {
		n = n / 2 / m.sparse * m.sparse
	}
	p := make([]byte, n)
	if _, err := src.ReadAt(p, srcOff); err != nil {
		return 0, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spared += n
	m.copies++
	_ = zeros.Blocks(p, int(m.sparse), func(start, end int) error {
		m.written += int64(copy(m.p[off+int64(start):], p[start:end]))
		return nil
	})
	return n, nil
}

var errFull = errors.New("full")

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full > 0 && off+int64(len(p)) > m.full {
		return 0, errFull
	}
	m.written += int64(len(p))
	return copy(m.p[off:], p), nil
}

func (m *memory) Truncate(size int64) error { m.p = make([]byte, size); return nil }
func (m *memory) Sync() error               { m.synced = true; return nil }

func (m *memory) Zero(off, n int64) error {
	if !m.zeroes {
		return errors.ErrUnsupported
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.p[off:][:n])
	return nil
}

func (m *memory) CopyFrom(src disk.File, srcOff, off, n int64) (int64, error) {
	if !m.offloads {
		return 0, errors.ErrUnsupported
	}
	if m.cutsShort && n > 1 {
		n /= 2
	}
	p := make([]byte, n)
	k, err := src.ReadAt(p, srcOff)
	if err != nil && err != io.EOF {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.p[off:], p[:k])
	return int64(k), nil
}

func execution(d disk.Disk, m *memory) convert.Execution {
	return convert.Execution{Source: d, Target: m, Create: raw.Format.Create}
}

func disks(t *rapid.T) *fake {
	f := &fake{}
	for range rapid.IntRange(1, 12).Draw(t, "parts") {
		f.parts = append(f.parts, part{
			kind:   disk.Kind(rapid.IntRange(0, 3).Draw(t, "kind")),
			length: int64(rapid.SampledFrom([]int{512, 1024, 4096, 5120, 65536, 300 * 512, 3 << 20}).Draw(t, "length")),
			fill:   byte(rapid.IntRange(0, 2).Draw(t, "fill")),
		})
	}
	return f
}

// TestAnyWindow: whatever the source is made of, and whatever the target can
// do, the output is the window of the content.
func TestAnyWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := disks(t)
		m := &memory{offloads: rapid.Bool().Draw(t, "offloads"), zeroes: rapid.Bool().Draw(t, "zeroes"), cutsShort: rapid.Bool().Draw(t, "short")}
		x := execution(f, m)
		want := bytes.Clone(f.content())
		if rapid.Bool().Draw(t, "dd") {
			count := rapid.Int64Range(0, 2*f.Size()).Draw(t, "count")
			w := dd.ComputeWindow(f.Size(), 1, &count, rapid.Int64Range(0, f.Size()).Draw(t, "skip"))
			x.Window, want = &w, want[w.Start:w.End]
		}
		if rapid.Bool().Draw(t, "resize") {
			n := rapid.Int64Range(0, f.Size()+10000).Draw(t, "size")
			x.OutputSize, want = &n, append(want[:min(len(want), int(n+511)/512*512)], make([]byte, max(0, int(n)-len(want)))...)
		}
		want = append(want, make([]byte, (512-len(want)%512)%512)...)
		x.SkipZeros = rapid.Bool().Draw(t, "sparse")
		x.Options.Zeroed = rapid.Bool().Draw(t, "zeroed")
		x.SparseSize = rapid.SampledFrom([]int64{0, 512, 65536}).Draw(t, "S")
		x.Workers = rapid.IntRange(0, 5).Draw(t, "workers")
		h := sha256.New()
		if rapid.Bool().Draw(t, "hash") {
			x.Hash = h
		}
		last, total := int64(-1), int64(-1)
		x.Progress = func(done, all int64) {
			if done <= last || done > all {
				t.Fatalf("progress %d after %d of %d", done, last, all)
			}
			last, total = done, all
		}
		r, err := convert.Execute(context.Background(), x)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.p, want) {
			t.Fatalf("output of %d bytes differs from %d", len(m.p), len(want))
		}
		if sum := sha256.Sum256(m.p); x.Hash != nil && [32]byte(h.Sum(nil)) != sum {
			t.Fatal("what was hashed is not what was written")
		}
		if n := r.Copied + r.Offloaded + r.Zeroed; n != int64(len(want)) {
			t.Fatalf("%+v are not %d bytes", r, len(want))
		}
		if last != total {
			t.Fatalf("progress ended at %d of %d", last, total)
		}
	})
}

func TestErrors(t *testing.T) {
	f := &fake{parts: []part{{disk.Encoded, 8 << 20, 1}}}
	for name, test := range map[string]struct {
		source *fake
		target *memory
		check  func(error) bool
	}{
		"read": {&fake{parts: f.parts, broken: 3 << 20}, &memory{}, func(err error) bool {
			var e *convert.ReadError
			return errors.As(err, &e) && errors.Is(err, errBroken) && e.Offset == 2<<20
		}},
		"write": {f, &memory{full: 5 << 20}, func(err error) bool {
			var e *convert.WriteError
			return errors.As(err, &e) && errors.Is(err, errFull) && e.Offset == 4<<20
		}},
	} {
		x := execution(test.source, test.target)
		if _, err := convert.Execute(context.Background(), x); !test.check(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x := execution(f, &memory{})
	x.Options.Values = map[string]string{"cluster_size": "1"}
	var create *convert.CreateError
	if _, err := convert.Execute(context.Background(), x); !errors.As(err, &create) {
		t.Errorf("create: %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	x := execution(&fake{parts: []part{{disk.Encoded, 64 << 20, 1}}}, &memory{})
	x.Progress = func(done, total int64) { cancel() }
	if _, err := convert.Execute(ctx, x); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSync(t *testing.T) {
	for _, sync := range []bool{false, true} {
		m := &memory{}
		x := execution(&fake{parts: []part{{disk.Data, 512, 1}}}, m)
		x.Sync = sync
		if _, err := convert.Execute(context.Background(), x); err != nil || m.synced != sync {
			t.Errorf("sync %v: %v, %v", sync, m.synced, err)
		}
	}
}

// TestCostFollowsWhatIsStored: holes are neither read nor written.
func TestCostFollowsWhatIsStored(t *testing.T) {
	m := &memory{}
	f := &fake{parts: []part{{disk.Zero, 32 << 20, 0}, {disk.Encoded, 4096, 1}, {disk.Unallocated, 32 << 20, 0}}}
	x := execution(f, m)
	x.SkipZeros, x.Options.Zeroed = true, true
	if _, err := convert.Execute(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	if m.written != 4096 {
		t.Errorf("wrote %d bytes for 4096", m.written)
	}
}

// What is stored as it is can be copied without the zeros in it by the target, if
// zeros are looked for as it does that, and reads as zeros where nothing is written.
func TestSparseCopier(t *testing.T) {
	content := []part{{disk.Data, 4096, 1}, {disk.Data, 40 << 20, 0}, {disk.Data, 4096, 2}, {disk.Encoded, 4096, 3}}
	for _, tc := range []struct {
		name   string
		change func(*convert.Execution, *memory)
		spared bool
	}{
		{"by default", func(*convert.Execution, *memory) {}, true},
		{"in halves", func(_ *convert.Execution, m *memory) { m.cutsShort = true }, true},
		{"it cannot after all", func(_ *convert.Execution, m *memory) { m.offloads = false }, false},
		{"other blocks", func(_ *convert.Execution, m *memory) { m.sparse = 512 }, false},
		{"-S 64k", func(x *convert.Execution, _ *memory) { x.SparseSize = 65536 }, false},
		{"dense", func(x *convert.Execution, _ *memory) { x.SkipZeros = false }, false},
		{"as stored", func(x *convert.Execution, _ *memory) { x.Offload = true }, false},
		{"a target with something in it", func(x *convert.Execution, _ *memory) { x.Options.Zeroed = false }, false},
		{"a digest", func(x *convert.Execution, _ *memory) { x.Hash = sha256.New() }, false},
		{"a rate", func(x *convert.Execution, _ *memory) { x.Rate = 1 << 40 }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fake{parts: content}
			m := &memory{sparse: 4096, offloads: true, zeroes: true}
			x := execution(f, m)
			x.SkipZeros, x.Options.Zeroed = true, true
			tc.change(&x, m)
			r, err := convert.Execute(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.p, f.content()) {
				t.Error("the output has other content")
			}
			if (m.spared > 0) != tc.spared {
				t.Errorf("the target copied %d bytes", m.spared)
			}
			if x.SkipZeros && !x.Offload && m.written > 3*4096 {
				t.Errorf("%d bytes were written for %d", m.written, 3*4096)
			}
			if n := r.Copied + r.Offloaded + r.Zeroed; n != f.Size() {
				t.Errorf("%d bytes of %d are accounted for", n, f.Size())
			}
		})
	}
}

// stripes is a disk of runs of one length, every other of which is stored, all in
// one file at their own offsets.
type stripes struct {
	file    disk.File
	of      int64
	n       int64 // how many there are
	inHoles bool  // the others are holes of the file
}

func (s *stripes) Size() int64 { return s.of * s.n }

func (s *stripes) ReadAt(p []byte, off int64) (int, error) { panic("read past its extents") }

func (s *stripes) Extent(off, limit int64) (disk.Extent, error) {
	k := off / s.of
	e := disk.Extent{Start: off, Length: min(limit, (k+1)*s.of-off), Kind: disk.Zero}
	if k%2 == 0 {
		e.Kind = disk.Data
	}
	if k%2 == 0 || s.inHoles {
		e.File, e.Offset = s.file, off
	}
	return e, nil
}

// What leaves zeros out is given what a file stores together with the small holes
// in between, and never what only lies in between.
func TestSparseCopierGetsHoles(t *testing.T) {
	for _, tc := range []struct {
		of, n   int64
		inHoles bool
		copies  int
	}{
		{64 << 10, 1024, true, 4}, // of 16 MiB each
		{64 << 10, 1024, false, 512},
		{4096 + 512, 1024, true, 1},
		{9 << 20, 8, true, 4},
		{20 << 20, 8, true, 2 * 4},
	} {
		content := []byte{}
		want := []byte{}
		s := &stripes{of: tc.of, n: tc.n, inHoles: tc.inHoles}
		for k := range s.n {
			stored, shown := bytes.Repeat([]byte{byte(k%255) + 1}, int(tc.of)), make([]byte, tc.of)
			if k%2 == 0 {
				shown = stored
			} else if tc.inHoles {
				stored = shown
			}
			content, want = append(content, stored...), append(want, shown...)
		}
		s.file = disk.NewFile(bytes.NewReader(content), s.Size())
		m := &memory{sparse: 4096, offloads: true, zeroes: true}
		if _, err := convert.Execute(t.Context(), convert.Execution{
			Source: s, Create: raw.Format.Create, Target: m, SkipZeros: true, Options: disk.WriterOptions{Zeroed: true},
		}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.p, want) {
			t.Errorf("%+v: the output has other content", tc)
		}
		if m.copies != tc.copies {
			t.Errorf("%+v: %d copies", tc, m.copies)
		}
		if most := (tc.of + 4095) / 4096 * 4096 * tc.n / 2; m.written > most {
			t.Errorf("%+v: %d bytes are written, more than %d", tc, m.written, most)
		}
	}
}

// counted counts how often a disk is asked what it stores.
type counted struct {
	disk.Disk
	asked int
}

func (c *counted) Extent(off, limit int64) (disk.Extent, error) {
	c.asked++
	return c.Disk.Extent(off, limit)
}

// A run that makes many pieces is asked for once.
func TestRunsAreAskedForOnce(t *testing.T) {
	source := &counted{Disk: &fake{parts: []part{{disk.Data, 9 << 20, 1}, {disk.Zero, 5 << 20, 0}, {disk.Encoded, 9 << 20, 2}}}}
	if _, err := convert.Execute(context.Background(), convert.Execution{
		Source: source, Create: raw.Format.Create, Target: &memory{}, SkipZeros: true,
	}); err != nil {
		t.Fatal(err)
	}
	if source.asked != 3 {
		t.Errorf("asked %d times about 3 runs", source.asked)
	}
}

func TestConcat(t *testing.T) {
	a := &fake{parts: []part{{disk.Encoded, 1024, 1}, {disk.Zero, 512, 0}}}
	b := &fake{parts: []part{{disk.Encoded, 512, 2}, {disk.Data, 4096, 3}}}
	d, err := convert.Concat(a, b, a)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	if _, err := convert.Execute(context.Background(), execution(d, m)); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Join([][]byte{a.content(), b.content(), a.content()}, nil); !bytes.Equal(m.p, want) {
		t.Error("content differs")
	}
}
