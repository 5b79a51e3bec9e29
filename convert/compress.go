package convert

// compress stores the runs of a piece unit by unit, compressed where that
// saves room. Units are compressed before the piece has its turn, and those
// that end up side by side are written as one.
func (c *copier) compress(p *piece, content []byte, runs []run, placed func()) (Result, error) {
	scratch := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(scratch)
	stored, units, err := c.compressUnits(content, runs, p.off, (*scratch)[:0])
	if err != nil {
		return Result{}, &WriteError{p.off, err}
	}
	<-p.turn
	c.hashed(content)
	var r Result
	var plain, parts []part // of content, and of stored
	for _, u := range units {
		switch {
		case u.from == u.to:
			plain, err = c.layOut(plain, u.run, p.off, &r)
		default:
			parts, err = c.placeCompressed(parts, u, p.off)
			r.Copied += u.end - u.start
		}
		if err != nil {
			return Result{}, err
		}
	}
	placed()
	for _, part := range plain {
		if err := c.write(content[part.start:part.end], part.at, p.off+part.start); err != nil {
			return Result{}, err
		}
	}
	for _, part := range parts {
		if err := c.store(stored[part.start:part.end], part.at, p.off); err != nil {
			return Result{}, err
		}
	}
	return r, nil
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
