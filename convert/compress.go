package convert

// compress compresses the runs of a piece unit by unit, where that saves room.
func (c *copier) compress(p *piece) error {
	var err error
	p.stored, p.units, err = c.compressUnits(p.content, p.runs, p.off, c.newBuffer(p)[:0])
	if err != nil {
		return &WriteError{p.off, err}
	}
	return nil
}

// placeUnits finds out where the units of a piece go. Those that end up side by
// side are written as one.
func (c *copier) placeUnits(p *piece) error {
	var err error
	for _, u := range p.units {
		switch {
		case u.from == u.to:
			p.parts, err = c.layOut(p.parts, u.run, p.off, &p.result)
		default:
			p.packed, err = c.placeCompressed(p.packed, u, p.off)
			p.result.Copied += u.end - u.start
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A storedUnit is a unit of content, or a run of zeros, and [from, to) of the
// compressed forms: it is stored as it is if that is
// empty.
type storedUnit struct {
	run
	from, to int64
}

// compressUnits appends the compressed forms of the units of runs to stored. off
// is where content is on the output.
func (c *copier) compressUnits(content []byte, runs []run, off int64, stored []byte) ([]byte, []storedUnit, error) {
	var units []storedUnit
	for _, r := range runs {
		if r.zero {
			units = append(units, storedUnit{run: r})
			continue
		}
		for start := r.start; start < r.end; start += c.unit {
			end := min(start+c.unit, r.end)
			u := storedUnit{run: run{start: start, end: end}, from: int64(len(stored))}
			form, err := c.compressor.Compress(stored, content[start:end], off+start)
			if err != nil {
				return nil, nil, err
			}
			if form != nil {
				stored = form
			}
			u.to = int64(len(stored))
			units = append(units, u)
		}
	}
	return stored, units, nil
}

// placeCompressed gives a compressed unit its place, which may be right behind
// the one before.
func (c *copier) placeCompressed(parts []part, u storedUnit, off int64) ([]part, error) {
	at, err := c.compressor.PlaceCompressed(off+u.start, u.to-u.from)
	if err != nil {
		return parts, &WriteError{off + u.start, err}
	}
	if k := len(parts) - 1; k >= 0 && parts[k].end == u.from && parts[k].at+parts[k].end-parts[k].start == at {
		parts[k].end = u.to
		return parts, nil
	}
	return append(parts, part{u.from, u.to, at}), nil
}
