package convert

import (
	"bytes"
	"context"
	"math"
	"sync"

	"instar/disk"
)

// A Comparison is a look at whether two disks have the same content.
type Comparison struct {
	A, B disk.Disk
	// Strict has runs differ also where they are stored in another way, as
	// zeros that are stored and zeros that are not.
	Strict bool
	// Workers bounds the number of pieces in flight; 0 is a good number.
	Workers int
	// Progress is told how many bytes are dealt with; see [Execution].
	Progress func(done, total int64)
}

// A Difference is the first one of two disks.
type Difference struct {
	// Offset is where the sector begins that differs, in bytes; -1 when none
	// does.
	Offset int64
	// Status says that it is how the run is stored that differs.
	Status bool
}

// A CompareError says that a disk could not be compared.
type CompareError struct {
	Second bool  // it is B, not A
	Status bool  // what it stores could not be told, else its content not be read
	Offset int64 // bytes
	Err    error
}

func (e *CompareError) Error() string { return e.Err.Error() }
func (e *CompareError) Unwrap() error { return e.Err }

// Compare compares two disks. The longer one has to have zeros where the other
// has ended; see Strict. Runs that read as zeros in both are not read. The error
// is a *CompareError, unless a difference comes before it, or ctx's.
func Compare(ctx context.Context, x Comparison) (Difference, error) {
	c := &comparer{Comparison: x, size: max(x.A.Size(), x.B.Size()), first: math.MaxInt64}
	c.progress.report = x.Progress
	c.buffers.New = func() any { b := make([]byte, len(zeroBuffer)); return &b }
	var group sync.WaitGroup
	for range workers(x.Workers) {
		group.Go(func() {
			for p, ok := c.take(ctx); ok; p, ok = c.take(ctx) {
				c.look(p)
			}
		})
	}
	group.Wait()
	switch {
	case c.first < math.MaxInt64:
		return c.found, c.err
	case ctx.Err() != nil:
		return Difference{}, context.Cause(ctx)
	}
	return Difference{Offset: -1}, nil
}

type comparer struct {
	Comparison
	size    int64
	buffers sync.Pool

	planning sync.Mutex // held while a piece is planned
	off      int64      // of the next piece

	mu       sync.Mutex
	first    int64 // offset of the first difference or error, when below MaxInt64
	found    Difference
	err      error
	progress progress
}

// A pair is a run of both disks, of the same length.
type pair struct{ a, b disk.Extent }

// take plans the next run that has to be read; ok is false at the end.
func (c *comparer) take(ctx context.Context) (p pair, ok bool) {
	c.planning.Lock()
	defer c.planning.Unlock()
	for c.off < c.size && ctx.Err() == nil && !c.ended(c.off) {
		off := c.off
		p, ok = c.next(off)
		if !ok {
			return p, false
		}
		c.off = p.a.End()
		if !isHole(p.a) || !isHole(p.b) {
			return p, true
		}
		c.done(p.a.Length)
	}
	return p, false
}

// next returns the runs at off, cut to the same length.
func (c *comparer) next(off int64) (pair, bool) {
	a, err := runAt(c.A, off, c.size-off)
	if err != nil {
		c.fail(off, &CompareError{Status: true, Offset: off, Err: err})
		return pair{}, false
	}
	b, err := runAt(c.B, off, a.Length)
	if err != nil {
		c.fail(off, &CompareError{Second: true, Status: true, Offset: off, Err: err})
		return pair{}, false
	}
	if c.Strict {
		return c.nextStrictly(a, b)
	}
	if a, err = skipHole(a, 0); err != nil {
		c.fail(off, &CompareError{Status: true, Offset: off, Err: err})
		return pair{}, false
	}
	if b, err = skipHole(b, 0); err != nil {
		c.fail(off, &CompareError{Second: true, Status: true, Offset: off, Err: err})
		return pair{}, false
	}
	return paired(a, b), true
}

// nextStrictly is next for runs that have to be stored alike, in their files as
// well.
func (c *comparer) nextStrictly(a, b disk.Extent) (pair, bool) {
	inA, err := inFile(a)
	if err != nil {
		c.fail(a.Start, &CompareError{Status: true, Offset: a.Start, Err: err})
		return pair{}, false
	}
	inB, err := inFile(b)
	if err != nil {
		c.fail(a.Start, &CompareError{Second: true, Status: true, Offset: a.Start, Err: err})
		return pair{}, false
	}
	if statusOf(a, inA) != statusOf(b, inB) {
		c.differ(a.Start, true)
		return pair{}, false
	}
	return paired(inA, inB), true
}

// paired cuts two runs to the same length.
func paired(a, b disk.Extent) pair {
	n := min(a.Length, b.Length)
	if !isHole(a) || !isHole(b) {
		n = min(n, int64(len(zeroBuffer)))
	}
	return pair{a.Sub(a.Start, a.Start+n), b.Sub(b.Start, b.Start+n)}
}

// runAt returns the run of d at off, which may be beyond its end.
func runAt(d disk.Disk, off, limit int64) (disk.Extent, error) {
	if off >= d.Size() {
		return disk.Extent{Start: off, Length: limit, Kind: disk.Unallocated}, nil
	}
	return d.Extent(off, min(limit, d.Size()-off))
}

func isHole(e disk.Extent) bool { return e.Kind == disk.Zero || e.Kind == disk.Unallocated }

// A status is what [Comparison.Strict] tells apart.
type status struct {
	kind   disk.Kind
	inFile bool // its place in a file is known
	hole   bool // and the file has none of it
}

// statusOf returns the status of an extent, of which in is how it begins in its file.
func statusOf(e, in disk.Extent) status { return status{e.Kind, e.File != nil, in.Kind != e.Kind} }

// look compares a run of both.
func (c *comparer) look(p pair) {
	if c.ended(p.a.Start) {
		return
	}
	a, err := c.read(p.a)
	defer c.release(a)
	if err != nil {
		c.fail(p.a.Start, &CompareError{Offset: p.a.Start, Err: err})
		return
	}
	b, err := c.read(p.b)
	defer c.release(b)
	if err != nil {
		c.fail(p.b.Start, &CompareError{Second: true, Offset: p.b.Start, Err: err})
		return
	}
	if at := mismatch(content(a, p.a), content(b, p.b)); at >= 0 {
		at += p.a.Start
		c.differ(at-at%disk.SectorSize, false)
		return
	}
	c.done(p.a.Length)
}

// read returns a buffer with the content of a run, nil if that is zeros.
func (c *comparer) read(e disk.Extent) (*[]byte, error) {
	if isHole(e) {
		return nil, nil
	}
	buf := c.buffers.Get().(*[]byte)
	return buf, e.Read((*buf)[:e.Length])
}

func (c *comparer) release(buf *[]byte) {
	if buf != nil {
		c.buffers.Put(buf)
	}
}

func content(buf *[]byte, e disk.Extent) []byte {
	if buf == nil {
		return zeroBuffer[:e.Length]
	}
	return (*buf)[:e.Length]
}

// mismatch returns where the first sector begins in which a and b, of the same
// length, differ, and -1 when none does.
func mismatch(a, b []byte) int64 {
	if bytes.Equal(a, b) {
		return -1
	}
	for at := 0; ; at += disk.SectorSize {
		end := min(at+disk.SectorSize, len(a))
		if !bytes.Equal(a[at:end], b[at:end]) {
			return int64(at)
		}
	}
}

// ended reports whether something was found before off.
func (c *comparer) ended(off int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first < off
}

func (c *comparer) differ(off int64, status bool) {
	c.end(off, Difference{Offset: off, Status: status}, nil)
}

func (c *comparer) fail(off int64, err error) { c.end(off, Difference{}, err) }

// end records what was found at off. The first is what counts.
func (c *comparer) end(off int64, d Difference, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if off < c.first {
		c.first, c.found, c.err = off, d, err
	}
}

func (c *comparer) done(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.add(n, c.size)
}
