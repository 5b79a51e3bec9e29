package convert

import (
	"context"
	"hash"

	"instar/disk"
)

// Digest feeds the first size bytes, a multiple of disk.SectorSize, of the
// content of d to h, in order; what d does not have is zeros. What is stored is
// read ahead, as for a copy. progress may be nil; see [Execution]. The error is
// a *ReadError or ctx's, and what h says then is worth nothing.
func Digest(ctx context.Context, d disk.Disk, size int64, h hash.Hash, progress func(done, total int64)) error {
	_, err := Execute(ctx, Execution{
		Source: d, OutputSize: &size, Hash: h, Progress: progress, SkipZeros: true, Offload: true,
		Create: func(disk.Target, int64, disk.WriterOptions) (disk.Writer, error) { return nowhere{}, nil },
		Target: nowhere{},
	})
	return err
}

// nowhere is a Writer and Target that keeps nothing.
type nowhere struct{}

// Unit is what small extents are gathered in.
func (nowhere) Unit() int64 { return 64 << 10 }

func (nowhere) Place(off, n int64) (at, placed int64, err error)              { return off, n, nil }
func (nowhere) Zero(int64, int64) error                                       { return nil }
func (nowhere) Finish() error                                                 { return nil }
func (nowhere) WriteAt(p []byte, _ int64) (int, error)                        { return len(p), nil }
func (nowhere) Truncate(int64) error                                          { return nil }
func (nowhere) CopyFrom(_ disk.File, _, _, n int64) (copied int64, err error) { return n, nil }
func (nowhere) Sync() error                                                   { return nil }

// hashed has the next piece of content hashed. The caller has its turn.
func (c *copier) hashed(content []byte) {
	if c.hash != nil {
		c.hash.Write(content) // never fails: see package hash
	}
}

// hashedZeros has the next n bytes hashed, which are zeros.
func (c *copier) hashedZeros(n int64) {
	if c.hash == nil {
		return
	}
	if h, ok := c.hash.(ZeroWriter); ok {
		h.WriteZeros(n)
		return
	}
	for n > 0 {
		part := zeroBuffer[:min(n, int64(len(zeroBuffer)))]
		c.hashed(part)
		n -= int64(len(part))
	}
}

// showsBelow reports whether what is below the output has to be read to know
// what the output shows in a run of that kind.
func (c *copier) showsBelow(k disk.Kind) bool {
	return c.hash != nil && c.overlay && c.below != nil && k == disk.Unallocated
}

// holesCost reports whether a hole costs time by its length.
func (c *copier) holesCost() bool {
	_, ok := c.hash.(ZeroWriter)
	return c.hash != nil && !ok
}

// hollow returns how much of [off, off+n), which the output leaves to what is
// below, is known to read as zeros there, from its beginning.
func (c *copier) hollow(off, n int64) (int64, error) {
	below, ok := c.below.(disk.Disk)
	if !ok {
		return 0, nil
	}
	start, end := off, off+n
	for off < end {
		if off >= below.Size() {
			return n, nil
		}
		e, err := below.Extent(off, min(end, below.Size())-off)
		if err != nil {
			return 0, &ReadError{off, err}
		}
		if e.Kind != disk.Zero && e.Kind != disk.Unallocated {
			break
		}
		off = e.End()
	}
	return off - start, nil
}

// readBelow reads what shows through a piece that is left out of the output, if
// that has to be known.
func (c *copier) readBelow(p *piece) error {
	if !c.showsBelow(disk.Unallocated) || p.hollow {
		return nil
	}
	p.content = c.newBuffer(p)[:p.length]
	if err := disk.ReadStored(c.below, p.content, p.off); err != nil {
		return &ReadError{p.off, err}
	}
	return nil
}
