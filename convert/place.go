package convert

import (
	"errors"

	"instar/disk"
)

// A part is [start, end) of the content of a piece, which is stored at offset at
// of the target.
type part struct{ start, end, at int64 }

// place finds out where a piece goes. Pieces are placed one at a time, in order.
func (c *copier) place(p *piece) error {
	var err error
	switch {
	case p.content != nil:
		c.hashed(p.content)
	default:
		c.hashedZeros(p.length)
	}
	switch {
	case p.hole() && c.overlay && p.whole(disk.Unallocated): // what is below shows through
		p.result.Zeroed = p.length
	case p.content == nil && p.hole() && c.dense && c.sparseFrom > 0 && p.off >= c.sparseFrom && !c.overlay:
		p.result.Zeroed = p.length
	case p.content == nil:
		p.parts, err = c.layOut(nil, run{end: p.length, zero: p.hole()}, p.off, &p.result)
	case p.units != nil:
		return c.placeUnits(p)
	default:
		for _, run := range p.runs {
			if p.parts, err = c.layOut(p.parts, run, p.off, &p.result); err != nil {
				break
			}
		}
	}
	return err
}

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
	return c.placeRun(parts, r.start, r.end, off)
}

// placeRun asks the writer where [start, end) of the piece at off goes.
func (c *copier) placeRun(parts []part, start, end, off int64) ([]part, error) {
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
