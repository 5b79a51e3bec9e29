package disk

import (
	"errors"
	"io"
)

// Chain returns the disk that layers show together, the topmost first: where a
// layer is Unallocated, the next one shows through, and zeros where that one
// has ended. Its size is the topmost's. A single layer is returned as it is.
func Chain(layers ...Disk) Disk {
	if len(layers) == 1 {
		return layers[0]
	}
	return chain(layers)
}

type chain []Disk

func (c chain) Size() int64 { return c[0].Size() }

func (c chain) Extent(off, limit int64) (Extent, error) {
	e := Extent{Start: off, Length: limit}
	for _, layer := range c {
		left := layer.Size() - off
		if left <= 0 {
			break
		}
		var err error
		e, err = layer.Extent(off, min(e.Length, left))
		if err != nil || e.Kind != Unallocated {
			return e, err
		}
	}
	return e, nil
}

func (c chain) ReadAt(p []byte, off int64) (int, error) { return ReadExtents(c, p, off) }

// ReadExtents reads the content of d at off by its extents, as Disk.ReadAt
// does. A layer that has Encoded runs of its own cannot use it for them.
func ReadExtents(d Disk, p []byte, off int64) (int, error) {
	return ReadWithin(d.Size(), p, off, func(p []byte, off int64) error {
		for len(p) > 0 {
			e, err := d.Extent(off, int64(len(p)))
			if err != nil {
				return err
			}
			if err := e.Read(p[:e.Length]); err != nil {
				return err
			}
			p, off = p[e.Length:], off+e.Length
		}
		return nil
	})
}

// ReadWithin does what Disk.ReadAt promises at the end of a disk of size
// bytes, and leaves to read what lies before it: read fills all of its slice
// or fails.
func ReadWithin(size int64, p []byte, off int64, read func(p []byte, off int64) error) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), size-off))
	if err := read(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
