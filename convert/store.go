package convert

import (
	"errors"

	"instar/disk"
)

// read reads the extents of a piece into content.
func read(p *piece, content []byte) error {
	for _, e := range p.extents {
		part := content[:e.Length]
		if err := e.Read(part); err != nil {
			return &ReadError{e.Start, err}
		}
		content = content[e.Length:]
	}
	return nil
}

// encrypt encrypts the content of a piece where it is.
func (c *copier) encrypt(p *piece) {
	if c.encrypter == nil || p.content == nil {
		return
	}
	for _, part := range p.parts {
		c.encrypter.Encrypt(p.content[part.start:part.end], p.off+part.start, part.at)
	}
}

// write writes what is stored of a piece that has been placed.
func (c *copier) write(p *piece) error {
	c.encrypt(p)
	for _, part := range p.parts {
		var err error
		switch {
		case p.content != nil:
			err = c.writeAt(p.content[part.start:part.end], part.at, p.off+part.start)
		case p.hole():
			err = c.zero(part.at, p.off+part.start, part.end-part.start)
		default:
			err = c.offload(p, part)
		}
		if err != nil {
			return err
		}
	}
	for _, part := range p.packed {
		if err := c.writeAt(p.stored[part.start:part.end], part.at, p.off); err != nil {
			return err
		}
	}
	return nil
}

// writeAt writes at an offset of the target what belongs at off of the output.
func (c *copier) writeAt(b []byte, at, off int64) error {
	c.pacer.wait(int64(len(b)))
	if _, err := c.target.WriteAt(b, at); err != nil {
		return &WriteError{off, err}
	}
	return nil
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

var zeroBuffer [bufferSize]byte

func (c *copier) writeZeros(at, off, n int64) error {
	content := zeroBuffer[:]
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
		if err := c.writeAt(part, at, off); err != nil {
			return err
		}
		at, off, n = at+int64(len(part)), off+int64(len(part)), n-int64(len(part))
	}
	return nil
}

// offload has a part of a piece that is stored moved by others.
func (c *copier) offload(p *piece, part part) error {
	e := p.extents[0]
	e = e.Sub(e.Start+part.start, e.Start+part.end)
	if c.sparser != nil {
		done, err := c.copySparse(e, part.at, p.spans)
		if err != nil {
			return &WriteError{p.off + part.start + done, err}
		}
		return c.copyRest(e, part.at, p.off+part.start, done)
	}
	done, err := c.copyStored(e, part.at, p.off+part.start)
	if err != nil {
		return err
	}
	p.result.Offloaded += done
	p.result.Copied -= done
	return c.copyRest(e, part.at, p.off+part.start, done)
}

// copySparse has an extent copied without the zeros in it, and returns how far
// that came.
func (c *copier) copySparse(e disk.Extent, at int64, holes bool) (int64, error) {
	done, err := c.sparser.CopySparse(e.File, e.Offset, at, e.Length, holes)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return done, err
}

// copyStored has the kernel copy an extent as far as it can, and returns how
// far that was.
func (c *copier) copyStored(e disk.Extent, at, off int64) (done int64, err error) {
	for done < e.Length && !c.noOffload.isSet() {
		c.pacer.wait(e.Length - done)
		n, err := c.copyFrom(e.File, e.Offset+done, at+done, e.Length-done)
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

// copyFrom has the kernel copy, one at a time: a second one would spin on the lock
// of the file that the first one holds.
func (c *copier) copyFrom(f disk.File, from, at, n int64) (int64, error) {
	c.copying.Lock()
	defer c.copying.Unlock()
	return c.target.CopyFrom(f, from, at, n)
}

// copyRest reads and writes what is left of an extent from done on, without the
// zeros in it if those are left out.
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
		runs := []run{{end: n}}
		if c.sparser != nil {
			runs = findZeros(part, off+done, c.block, c.sparse)
		}
		for _, r := range runs {
			if r.zero {
				continue
			}
			if err := c.writeAt(part[r.start:r.end], at+done+r.start, off+done+r.start); err != nil {
				return err
			}
		}
		done += n
	}
	return nil
}
