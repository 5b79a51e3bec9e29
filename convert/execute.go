// Package convert is the copy core: it lays the content of virtual disks out
// in an image of another format. dd and convert share it.
//
// Cost follows what is stored, not the virtual size: a source lists its
// extents, holes are never read, and bytes that need no look are moved by the
// kernel. Content is placed in ascending order, so that equal input gives equal
// output, and is moved in any order, by several goroutines.
package convert

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"math/bits"
	"runtime"
	"slices"

	"instar/dd"
	"instar/disk"
)

// An Execution is one copy.
type Execution struct {
	// Source is what to copy from; see [disk.Chain] and [Concat].
	Source disk.Disk
	// Window is the part of the source to copy; nil is all of it.
	Window *dd.Window
	// OutputSize is the virtual size of the output in bytes; nil is the length
	// of the window, or of the source. It is rounded up to 512. What the source
	// does not fill reads as zeros.
	OutputSize *int64

	// Create begins the output in Target; see [disk.Format].
	Create func(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error)
	Target disk.Target
	// Options are handed to Create. Dense is set by SkipZeros.
	Options disk.WriterOptions

	// SkipZeros leaves runs of zeros out of the output: those that the source
	// knows of, and those of at least SparseSize bytes that are found in its
	// data. Without it the output is dense.
	SkipZeros bool
	// SparseFrom is from where on in the output, in bytes, what the source leaves
	// out is left out of a dense output as well; 0 is nowhere. It has no effect on
	// an Overlay.
	SparseFrom int64
	// Overlay leaves out of the output what the source leaves unallocated:
	// something below it shows through there. Below has the content of that, for
	// units that are stored in part; nil is zeros.
	Overlay bool
	Below   io.ReaderAt
	// Offload has the kernel copy what is stored as it is, without a look for
	// zeros in it.
	Offload bool
	// SparseSize is in bytes; 0 is 4096.
	SparseSize int64
	// Sync has the output put on stable storage before Execute returns.
	Sync bool
	// Hash is fed the content of the output, all of it and in order, as a reader
	// of the output will find it: what is left out of the output as well, zeros
	// and what is below an Overlay. Nothing is left to the kernel then, and zeros
	// are hashed one by one, unless it is a ZeroWriter. nil computes nothing. When
	// Execute fails, what Hash says is worth nothing.
	Hash hash.Hash
	// Rate bounds how many bytes a second are written; 0 does not.
	Rate int64
	// Workers bounds how many pieces are read or written at a time; 0 is a good number.
	Workers int
	// Progress is told how many bytes of the output are dealt with. It is
	// called from one goroutine at a time, ten times a second and at the end; nil
	// is for nobody.
	Progress func(done, total int64)
}

// A Result says what became of the bytes of the output.
type Result struct {
	Copied    int64 // read and written
	Offloaded int64 // moved by the kernel
	Zeroed    int64 // left out, or zeroed without being written

	// Size is the virtual size of the output in bytes, which some formats round
	// up further than to 512; what was not asked for reads as zeros.
	Size int64
}

// A ReadError says that content could not be read.
type ReadError struct {
	Offset int64 // in the source, bytes
	Err    error
}

func (e *ReadError) Error() string { return fmt.Sprintf("read at %d: %v", e.Offset, e.Err) }
func (e *ReadError) Unwrap() error { return e.Err }

// A CreateError says that the output could not be begun.
type CreateError struct{ Err error }

func (e *CreateError) Error() string { return fmt.Sprintf("create: %v", e.Err) }
func (e *CreateError) Unwrap() error { return e.Err }

// A WriteError says that content could not be written.
type WriteError struct {
	Offset int64 // in the output, bytes; -1 when it is about all of it
	Err    error
}

func (e *WriteError) Error() string { return fmt.Sprintf("write at %d: %v", e.Offset, e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }

// Execute carries a copy out. The error is a *CreateError, a *ReadError or a
// *WriteError, of the lowest offset where one occurred, or ctx's.
func Execute(ctx context.Context, x Execution) (Result, error) {
	p, err := newPlan(x)
	if err != nil {
		return Result{}, err
	}
	x.Options.Dense = !x.SkipZeros
	w, err := x.Create(x.Target, p.size, x.Options)
	if err != nil {
		return Result{}, &CreateError{err}
	}
	c := &copier{plan: p, writer: w, target: x.Target, unit: w.Unit(), hash: x.Hash}
	if s, ok := w.(disk.Spreader); ok {
		c.target = s.Content()
	}
	c.compressor, _ = w.(disk.Compressor) // nil when it is none
	c.encrypter, _ = w.(disk.Encrypter)
	c.setSparse(x.SparseSize, c.compressor != nil || x.Options.Compress)
	c.progress.report = x.Progress
	c.pacer.rate = x.Rate
	c.sparser = c.sparseCopier()
	if err := c.run(ctx, workers(x.Workers)); err != nil {
		return Result{}, err
	}
	c.result.Size = p.size
	if s, ok := w.(disk.Sizer); ok {
		c.result.Size = s.Size()
		c.hashedZeros(c.result.Size - p.size)
	}
	c.pacer.flush()
	if err := w.Finish(); err != nil {
		return Result{}, &WriteError{-1, err}
	}
	if x.Sync {
		for _, t := range append(slices.Clip(x.Options.Files), x.Target) {
			if err := t.Sync(); err != nil {
				return Result{}, &WriteError{-1, err}
			}
		}
	}
	return c.result, nil
}

// setSparse decides which zeros are left out, as qemu-img does: they are looked
// for in blocks of a power of two, and what is compressed, or would be in another
// subformat, is stored unit by unit. Where it makes no difference to the bytes, they
// are looked for in every unit.
func (c *copier) setSparse(n int64, compress bool) {
	if n == 0 {
		n = 4096
	}
	c.block, c.sparse = c.unit, c.unit
	if compress {
		return
	}
	c.sparse = max(n, c.unit)
	if _, flat := c.writer.(disk.Flat); !flat {
		c.block = max(c.unit, 1<<(bits.Len64(uint64(n))-1))
	}
}

// sparseCopier returns who copies what is stored without the zeros in it, if that
// comes to the same as to look for them here: nil if not.
func (c *copier) sparseCopier() disk.SparseCopier {
	w, _ := c.writer.(disk.Hollow)
	t, _ := c.target.(disk.SparseCopier)
	switch {
	case w == nil || t == nil || !w.Hollow():
	case c.dense || c.asIs() || c.compressor != nil || c.encrypter != nil || c.hash != nil || c.pacer.rate != 0:
	case c.block == t.SparseBlock() && c.sparse == c.block:
		return t
	}
	return nil
}

// workers returns how many workers there are if n are asked for. One for each
// processor keeps it busy: more only wait for each other, since a file system lets
// one at a time write to a file.
func workers(n int) int {
	if n <= 0 {
		n = max(runtime.GOMAXPROCS(0), 2)
	}
	return min(n, 16)
}

// A plan is what goes where, in bytes: output offset o has what the source has
// at o+start, up to length, and zeros from there to size.
type plan struct {
	source              disk.Disk
	start, length, size int64
	dense, overlay      bool
	sparseFrom          int64
	below               io.ReaderAt
	last                disk.Extent // that the source told of
	end                 fileEnd
	hole                int64 // the shortest that is looked for, bytes
	asStored            bool  // data is not looked at
}

func newPlan(x Execution) (*plan, error) {
	p := &plan{source: x.Source, length: x.Source.Size(), dense: !x.SkipZeros, sparseFrom: x.SparseFrom, overlay: x.Overlay, below: x.Below, asStored: x.Offload, hole: x.SparseSize}
	if x.Window != nil {
		if x.Window.Start < 0 || x.Window.Start > x.Window.End {
			return nil, fmt.Errorf("window [%d, %d)", x.Window.Start, x.Window.End)
		}
		p.start = min(x.Window.Start, p.length)
		p.length = min(x.Window.End, p.length) - p.start
	}
	p.size = p.length
	if x.Window != nil {
		p.size = x.Window.OutSize
	}
	if x.OutputSize != nil {
		p.size = *x.OutputSize
	}
	if p.size < 0 || p.size > math.MaxInt64-(disk.SectorSize-1) {
		return nil, fmt.Errorf("output of %d bytes", p.size)
	}
	p.size = (p.size + disk.SectorSize - 1) / disk.SectorSize * disk.SectorSize
	p.length = min(p.length, p.size)
	return p, nil
}

// extent returns the extent of the source behind the output at off, and its
// length. What was asked for last is remembered: a long run makes many pieces,
// and to look for its end each time would cost more the longer it is.
func (p *plan) extent(off, limit int64) (disk.Extent, error) {
	if off >= p.length {
		return disk.Extent{Start: off + p.start, Length: min(limit, p.size-off), Kind: disk.Zero}, nil
	}
	at := off + p.start
	limit = min(limit, p.length-off)
	if e := p.last; at >= e.Start && at < e.End() {
		return e.Sub(at, min(e.End(), at+limit)), nil
	}
	e, err := p.source.Extent(at, limit)
	if err != nil {
		return e, &ReadError{at, err}
	}
	e = p.end.clip(e)
	switch {
	case p.dense:
	case p.asStored:
		e, err = inFile(e)
	default:
		e, err = skipHole(e, p.hole)
	}
	if err != nil {
		return e, &ReadError{at, err}
	}
	p.last = e
	return e, nil
}

// inFile returns how an extent begins: with stored data, or as zeros where its
// file has a hole. Short data that is looked at is not worth the question: see
// skipHole.
func inFile(e disk.Extent) (disk.Extent, error) {
	if e.Kind != disk.Data {
		return e, nil
	}
	start, end, err := disk.DataRun(e.File, e.Offset)
	switch {
	case errors.Is(err, io.EOF):
		start = math.MaxInt64
	case err != nil:
		return e, err
	}
	if start > e.Offset {
		e = e.Sub(e.Start, e.Start+min(start-e.Offset, e.Length))
		e.Kind = disk.Zero
		return e, nil
	}
	return e.Sub(e.Start, e.Start+min(end-e.Offset, e.Length)), nil
}
