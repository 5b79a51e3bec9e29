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
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= d.Size() {
		return 0, io.EOF
	}
	want := min(int64(len(p)), d.Size()-off)
	done := int64(0)
	for done < want {
		e, err := d.Extent(off+done, want-done)
		if err != nil {
			return int(done), err
		}
		if err := e.Read(p[done:][:e.Length]); err != nil {
			return int(done), err
		}
		done += e.Length
	}
	if want < int64(len(p)) {
		return int(done), io.EOF
	}
	return int(done), nil
}
