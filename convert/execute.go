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
	"sync"

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
	// Workers bounds the number of pieces in flight; 0 is a good number.
	Workers int
	// Progress is told how many bytes of the output are dealt with. It is
	// called from one goroutine at a time, about two hundred times; nil is for
	// nobody.
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
	c.setSparse(x.SparseSize)
	c.progress.report = x.Progress
	c.pacer.rate = x.Rate
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
// for in blocks of a power of two, and a compressed unit is stored as a whole.
// Where it makes no difference to the bytes, they are looked for in every unit.
func (c *copier) setSparse(n int64) {
	if n == 0 {
		n = 4096
	}
	c.block, c.sparse = c.unit, c.unit
	if c.compressor != nil {
		return
	}
	c.sparse = max(n, c.unit)
	if _, flat := c.writer.(disk.Flat); !flat {
		c.block = max(c.unit, 1<<(bits.Len64(uint64(n))-1))
	}
}

func workers(n int) int {
	if n <= 0 {
		n = 2 * runtime.GOMAXPROCS(0)
	}
	return min(n, 16)
}

// A plan is what goes where, in bytes: output offset o has what the source has
// at o+start, up to length, and zeros from there to size.
type plan struct {
	source              disk.Disk
	start, length, size int64
	dense, overlay      bool
	below               io.ReaderAt
	last                disk.Extent // that the source told of
	end                 fileEnd
	asStored            bool // data is not looked at
}

func newPlan(x Execution) (*plan, error) {
	p := &plan{source: x.Source, length: x.Source.Size(), dense: !x.SkipZeros, overlay: x.Overlay, below: x.Below, asStored: x.Offload}
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
	if p.asStored && !p.dense {
		if e, err = inFile(e); err != nil {
			return e, &ReadError{at, err}
		}
	}
	p.last = e
	return e, nil
}

// inFile returns how an extent begins: with stored data, or as zeros where its
// file has a hole. Data that is looked at is not worth the question.
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

// Sizes of pieces in bytes.
const (
	bufferSize  = 2 << 20   // read and written
	offloadSize = 64 << 20  // moved by the kernel
	zeroSize    = 256 << 20 // zeroed by the file system
)

// A piece is a part of the output that one worker deals with. It begins on a
// unit of the writer, and ends on one or with the output.
type piece struct {
	off, length int64
	extents     []disk.Extent // that make it up, in order
	hollow      bool          // what is below reads as zeros
	number      int64
	turn        <-chan struct{} // closed when all before it have been placed
	placed      chan struct{}   // to be closed when it has been placed
}

// whole reports whether the piece is one extent of a kind.
func (p *piece) whole(k disk.Kind) bool { return len(p.extents) == 1 && p.extents[0].Kind == k }

func (p *piece) hole() bool { return p.whole(disk.Zero) || p.whole(disk.Unallocated) }

type copier struct {
	*plan
	writer     disk.Writer
	compressor disk.Compressor // nil stores content as it is
	encrypter  disk.Encrypter  // nil does not encrypt it
	hash       hash.Hash       // of what the output shows; nil is none
	target     disk.Target
	unit       int64
	block      int64 // in which zeros are looked for
	sparse     int64

	planning sync.Mutex // held while a piece is planned
	off      int64      // of the next piece
	number   int64
	turn     <-chan struct{}

	buffers   sync.Pool
	pacer     pacer
	noOffload onceFlag
	noZero    onceFlag

	mu       sync.Mutex
	failed   int64 // number of the first piece that failed, when err is set
	err      error
	result   Result
	progress progress
}

// run has workers take pieces and deal with them, until the end or a failure.
func (c *copier) run(ctx context.Context, workers int) error {
	c.buffers.New = func() any { b := make([]byte, max(bufferSize, c.unit)); return &b }
	first := make(chan struct{})
	close(first)
	c.turn = first
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for p := c.take(ctx); p != nil; p = c.take(ctx) {
				c.work(p)
			}
		})
	}
	group.Wait()
	if c.err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.err
}

// take plans the next piece for a worker; nil is the end. Whoever takes a piece
// has to give the next one its turn.
func (c *copier) take(ctx context.Context) *piece {
	c.planning.Lock()
	defer c.planning.Unlock()
	if c.off >= c.size || ctx.Err() != nil || c.hasFailed(c.number) {
		return nil
	}
	p, err := c.next(c.off)
	if err != nil {
		c.fail(c.number, err)
		return nil
	}
	p.number, p.turn, p.placed = c.number, c.turn, make(chan struct{})
	c.number, c.turn, c.off = c.number+1, p.placed, c.off+p.length
	return p
}

// next plans the piece at off.
func (c *copier) next(off int64) (*piece, error) {
	e, err := c.extent(off, c.size-off)
	if err != nil {
		return nil, err
	}
	p := &piece{off: off}
	if c.showsBelow(e.Kind) {
		n, err := c.hollow(off, e.Length)
		if err != nil {
			return nil, err
		}
		if p.hollow = c.align(off+n) > off; p.hollow {
			e = e.Sub(e.Start, e.Start+c.align(off+n)-off)
		}
	}
	if n := min(c.align(off+e.Length)-off, c.most(e, p.hollow)); n > 0 {
		p.length = n
		p.extents = []disk.Extent{e.Sub(e.Start, e.Start+n)}
		return p, nil
	}
	// The extent ends inside its first unit: gather what follows, up to a
	// buffer, as long as it comes in small parts.
	end := min(off+max(bufferSize, c.unit), c.size)
	for {
		p.extents = append(p.extents, e)
		p.length += e.Length
		at := off + p.length
		if at == end || (c.align(at) == at && (len(p.extents) >= maxExtents || c.overlay)) {
			c.fillIn(p)
			return p, nil
		}
		if e, err = c.extent(at, end-at); err != nil {
			return nil, err
		}
		if c.align(at) == at && e.Length >= max(bufferSize/8, c.unit) {
			return p, nil // better on its own
		}
	}
}

// fillIn has what a unit that is stored in part leaves out come from below.
func (c *copier) fillIn(p *piece) {
	if c.below == nil || p.hole() {
		return
	}
	for k, e := range p.extents {
		if e.Kind == disk.Unallocated {
			p.extents[k] = disk.Extent{Start: e.Start, Length: e.Length, Kind: disk.Encoded, Layer: c.below}
		}
	}
}

// maxExtents bounds how many extents are gathered into a piece, but for those
// of a single unit.
const maxExtents = 4096

// align returns off rounded down to a unit, and the end of the output as it is.
func (c *copier) align(off int64) int64 {
	if off >= c.size {
		return c.size
	}
	return off - off%c.unit
}

// asIs reports whether what is stored as it is goes into the output without a
// look at it.
func (c *copier) asIs() bool {
	return (c.dense || c.asStored) && c.compressor == nil && c.encrypter == nil
}

// offloads reports whether the kernel is to copy that.
func (c *copier) offloads() bool { return c.asIs() && c.hash == nil }

// most returns how long a piece of one extent may be.
// hollow says that what is below is known to have zeros there.
func (c *copier) most(e disk.Extent, hollow bool) int64 {
	n := int64(bufferSize)
	switch hole := e.Kind == disk.Zero || e.Kind == disk.Unallocated; {
	case c.showsBelow(e.Kind) && !hollow: // it is read
	case hole && !c.dense && !c.holesCost():
		return math.MaxInt64
	case hole && (!c.dense || c.compressor == nil):
		n = zeroSize
	case e.Kind == disk.Data && c.offloads() && !c.noOffload.isSet() && c.pacer.rate == 0:
		n = offloadSize
	}
	return max(n/c.unit, 1) * c.unit
}

// work deals with a piece. Whatever happens, the next one gets its turn, and not
// before this one had it: one at a time uses the writer and the hash.
func (c *copier) work(p *piece) {
	placed := sync.OnceFunc(func() {
		<-p.turn
		close(p.placed)
	})
	defer placed()
	if c.hasFailed(p.number) {
		return
	}
	var r Result
	var err error
	switch {
	case p.hole() && (!c.dense || c.compressor == nil):
		r, err = c.hole(p, placed)
	case p.whole(disk.Data) && c.offloads():
		r, err = c.offload(p, placed)
	default:
		r, err = c.move(p, placed)
	}
	if err != nil {
		c.fail(p.number, err)
		return
	}
	c.done(p.length, r)
}

// hole deals with a piece that reads as zeros, or as what is below.
func (c *copier) hole(p *piece, placed func()) (Result, error) {
	if c.overlay && p.whole(disk.Unallocated) {
		return c.leave(p)
	}
	<-p.turn
	c.hashedZeros(p.length)
	err := c.writer.Zero(p.off, p.length)
	if err == nil {
		return Result{Zeroed: p.length}, nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return Result{}, &WriteError{p.off, err}
	}
	parts, err := c.place(nil, 0, p.length, p.off)
	placed()
	if err != nil {
		return Result{}, err
	}
	for _, part := range parts {
		if err := c.zero(part.at, p.off+part.start, part.end-part.start); err != nil {
			return Result{}, err
		}
	}
	return Result{Copied: p.length}, nil
}

// zero has zeros stored at an offset of the target, by the file system if it
// can.
func (c *copier) zero(at, off, n int64) error {
	if c.encrypter == nil && !c.noZero.isSet() {
		err := c.target.Zero(at, n)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return &WriteError{off, err}
		}
		c.noZero.set()
	}
	return c.writeZeros(at, off, n)
}

// offload has the kernel move a piece that is stored as it is.
func (c *copier) offload(p *piece, placed func()) (Result, error) {
	<-p.turn
	parts, err := c.place(nil, 0, p.length, p.off)
	placed()
	if err != nil {
		return Result{}, err
	}
	var r Result
	for _, part := range parts {
		e := p.extents[0]
		e = e.Sub(e.Start+part.start, e.Start+part.end)
		done, err := c.copyStored(e, part.at, p.off+part.start)
		if err != nil {
			return Result{}, err
		}
		r.Offloaded += done
		r.Copied += e.Length - done
		if err := c.copyRest(e, part.at, p.off+part.start, done); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// copyStored has the kernel copy an extent as far as it can, and returns how
// far that was.
func (c *copier) copyStored(e disk.Extent, at, off int64) (done int64, err error) {
	for done < e.Length && !c.noOffload.isSet() {
		c.pacer.wait(e.Length - done)
		n, err := c.target.CopyFrom(e.File, e.Offset+done, at+done, e.Length-done)
		done += n
		if errors.Is(err, errors.ErrUnsupported) {
			c.noOffload.set()
			break
		}
		if err != nil {
			return done, &WriteError{off + done, err}
		}
		if n == 0 {
			break // the file ends early, or its file system gives up
		}
	}
	return done, nil
}

// copyRest reads and writes what is left of an extent from done on.
func (c *copier) copyRest(e disk.Extent, at, off, done int64) error {
	if done == e.Length {
		return nil
	}
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	for done < e.Length {
		n := min(int64(len(*buf)), e.Length-done)
		part := (*buf)[:n]
		if err := e.Sub(e.Start+done, e.Start+done+n).Read(part); err != nil {
			return &ReadError{e.Start + done, err}
		}
		if err := c.write(part, at+done, off+done); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// move reads a piece, looks for zeros if they are to be left out, and writes
// the rest.
func (c *copier) move(p *piece, placed func()) (Result, error) {
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	content, err := read(p, *buf)
	if err != nil {
		return Result{}, err
	}
	runs := []run{{end: p.length}}
	if !c.dense && !(c.asIs() && p.whole(disk.Data)) {
		runs = findZeros(content, p.off, c.block, c.sparse)
	}
	if c.compressor != nil {
		return c.compress(p, content, runs, placed)
	}
	<-p.turn
	c.hashed(content)
	var r Result
	var parts []part
	for _, run := range runs {
		if parts, err = c.layOut(parts, run, p.off, &r); err != nil {
			return Result{}, err
		}
	}
	placed()
	for _, part := range parts {
		if err := c.write(content[part.start:part.end], part.at, p.off+part.start); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// read reads the extents of a piece into buf.
func read(p *piece, buf []byte) ([]byte, error) {
	n := int64(0)
	for _, e := range p.extents {
		if err := e.Read(buf[n:][:e.Length]); err != nil {
			return nil, &ReadError{e.Start, err}
		}
		n += e.Length
	}
	return buf[:n], nil
}

// A part is [start, end) of the content of a piece, which is stored at offset at
// of the target.
type part struct{ start, end, at int64 }

// layOut arranges for a run of a piece that begins at off: a run of zeros is
// left to the writer if it can have it, everything else is given a place.
func (c *copier) layOut(parts []part, r run, off int64, result *Result) ([]part, error) {
	if r.zero {
		err := c.writer.Zero(off+r.start, r.end-r.start)
		if err == nil {
			result.Zeroed += r.end - r.start
			return parts, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return parts, &WriteError{off + r.start, err}
		}
	}
	result.Copied += r.end - r.start
	return c.place(parts, r.start, r.end, off)
}

// place asks the writer where [start, end) of the piece at off goes.
func (c *copier) place(parts []part, start, end, off int64) ([]part, error) {
	for start < end {
		at, n, err := c.writer.Place(off+start, end-start)
		if err != nil {
			return parts, &WriteError{off + start, err}
		}
		parts = append(parts, part{start, start + n, at})
		start += n
	}
	return parts, nil
}

// write writes content at an offset of the target, and may change it on the way.
func (c *copier) write(p []byte, at, off int64) error {
	if c.encrypter != nil {
		c.encrypter.Encrypt(p, off, at)
	}
	return c.store(p, at, off)
}

func (c *copier) store(p []byte, at, off int64) error {
	c.pacer.wait(int64(len(p)))
	if _, err := c.target.WriteAt(p, at); err != nil {
		return &WriteError{off, err}
	}
	return nil
}

var zeros [bufferSize]byte

func (c *copier) writeZeros(at, off, n int64) error {
	content := zeros[:]
	if c.encrypter != nil {
		buf := c.buffers.Get().(*[]byte)
		defer c.buffers.Put(buf)
		content = *buf
	}
	for n > 0 {
		part := content[:min(n, int64(len(content)))]
		if c.encrypter != nil {
			clear(part)
			c.encrypter.Encrypt(part, off, at)
		}
		if err := c.store(part, at, off); err != nil {
			return err
		}
		at, off, n = at+int64(len(part)), off+int64(len(part)), n-int64(len(part))
	}
	return nil
}

// fail records the failure of a piece. That of the first piece is what counts.
func (c *copier) fail(number int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || number < c.failed {
		c.failed, c.err = number, err
	}
}

// hasFailed reports whether a piece before number has failed.
func (c *copier) hasFailed(number int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil && c.failed < number
}

func (c *copier) done(n int64, r Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Copied += r.Copied
	c.result.Offloaded += r.Offloaded
	c.result.Zeroed += r.Zeroed
	c.progress.add(n, c.size)
}
