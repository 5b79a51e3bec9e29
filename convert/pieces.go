package convert

import (
	"context"
	"math"

	"instar/disk"
)

// Sizes of pieces in bytes.
const (
	bufferSize  = 2 << 20   // read and written
	sparseSize  = 16 << 20  // copied without the zeros in it
	offloadSize = 64 << 20  // moved by the kernel
	zeroSize    = 256 << 20 // zeroed by the file system
)

// A piece is a part of the output that one worker prepares. It begins on a unit
// of the writer, and ends on one or with the output.
type piece struct {
	off, length int64
	extents     []disk.Extent // that make it up, in order
	hollow      bool          // what is below reads as zeros
	spans       bool          // its extent goes across holes of its file
	number      int64

	buffers []*[]byte // to be given back
	content []byte    // what was read; nil if it was not
	runs    []run     // of content
	stored  []byte    // compressed forms
	units   []storedUnit
	parts   []part // of content, where they go; of all of the piece if it has none
	packed  []part // of stored
	result  Result
	err     error
}

// whole reports whether the piece is one extent of a kind.
func (p *piece) whole(k disk.Kind) bool { return len(p.extents) == 1 && p.extents[0].Kind == k }

func (p *piece) hole() bool { return p.whole(disk.Zero) || p.whole(disk.Unallocated) }

// take plans the next piece for a worker; nil is the end.
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
	p.number = c.number
	c.number, c.off = c.number+1, c.off+p.length
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
	if c.sparser != nil && e.Kind == disk.Data {
		n := e.Length
		if e, err = c.span(e, off); err != nil {
			return nil, err
		}
		p.spans = e.Length > n
	}
	if n := min(c.align(off+e.Length)-off, c.most(e, p.hollow)); n > 0 {
		p.length = n
		p.extents = []disk.Extent{e.Sub(e.Start, e.Start+n)}
		return p, nil
	}
	// The extent ends inside its first unit: gather what follows, up to a
	// buffer, as long as it comes in small parts.
	end := min(off+c.buffer, c.size)
	for {
		p.extents = append(p.extents, e)
		p.length += e.Length
		at := off + p.length
		if at == end || (c.align(at) == at && (len(p.extents) >= maxExtents || c.overlay)) {
			c.fillIn(p)
			return p, nil
		}
		limit := end - at
		if c.overlay { // what is left to what is below is left from the next unit on
			limit = min(limit, c.unit-at%c.unit)
		}
		if e, err = c.extent(at, limit); err != nil {
			return nil, err
		}
		if c.align(at) == at && e.Length >= max(c.buffer/8, c.unit) {
			return p, nil // better on its own
		}
	}
}

// span has stored data at off go on across holes to what its file has behind them:
// whoever leaves zeros out finds the holes faster than each part could be asked for.
func (c *copier) span(e disk.Extent, off int64) (disk.Extent, error) {
	for n := e.Length; n < sparseSize && off+n < c.size; {
		next, err := c.extent(off+n, c.size-off-n)
		if err != nil {
			return e, err
		}
		if next.File == nil || !same(next.File, e.File) || next.Offset != e.Offset+n {
			break
		}
		n += next.Length
		if next.Kind == disk.Data {
			e.Length = n
		}
	}
	return e, nil
}

// holes returns the runs of whole units of a piece that are known to be zeros: they
// are left out however short they are.
func (c *copier) holes(p *piece) []run {
	var list []run
	start := int64(-1) // of a run of holes; -1 is none
	at := int64(0)
	add := func() {
		if start < 0 {
			return
		}
		if in := (p.off + start) % c.unit; in > 0 {
			start += c.unit - in
		}
		if end := c.align(p.off+at) - p.off; start < end {
			list = append(list, run{start, end, true})
		}
		start = -1
	}
	for _, e := range p.extents {
		switch hole := e.Kind == disk.Zero || e.Kind == disk.Unallocated; {
		case !hole:
			add()
		case start < 0:
			start = at
		}
		at += e.Length
	}
	add()
	return list
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

// most returns how long a piece of one extent may be. hollow says that what is
// below is known to have zeros there.
func (c *copier) most(e disk.Extent, hollow bool) int64 {
	n := c.buffer
	switch hole := isHole(e); {
	case c.showsBelow(e.Kind) && !hollow: // it is read
	case hole && !c.dense && !c.holesCost():
		return math.MaxInt64
	case hole && (!c.dense || c.compressor == nil):
		n = zeroSize
	case e.Kind == disk.Data && c.sparser != nil:
		n = sparseSize
	case e.Kind == disk.Data && c.offloads() && !c.noOffload.isSet() && c.pacer.rate == 0:
		n = offloadSize
	}
	return max(n/c.unit, 1) * c.unit
}
