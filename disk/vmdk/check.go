package vmdk

import (
	"encoding/binary"

	"instar/disk"
)

// Check is [disk.Checker]'s: of the tables of sparse extents, and of compressed
// grains.
func (i *image) Check() error {
	for k := range i.extents {
		x := &i.extents[k]
		if x.sparse == nil {
			continue
		}
		if err := i.caches.of(x).check(x.size); err != nil {
			return err
		}
	}
	return nil
}

// check checks the tables of an extent of size bytes.
func (t *tables) check(size int64) error {
	span := t.perTable * t.grain // of one grain table
	n := (size + span - 1) / span
	if err := disk.CheckWithin(formatName, t.file, "grain directory", t.directory, n*t.entrySize()); err != nil {
		return err
	}
	for k := range n {
		at, err := t.grainTable(t.directory + k*t.entrySize())
		if err == nil && at != 0 {
			err = disk.CheckWithin(formatName, t.file, "grain table", at, t.perTable*t.entrySize())
		}
		if err == nil && at != 0 && t.compressed {
			err = t.checkCompressed(k*t.perTable, min((k+1)*t.perTable, (size+t.grain-1)/t.grain))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkCompressed checks the compressed grains in [first, end).
func (t *tables) checkCompressed(first, end int64) error {
	for k := first; k < end; {
		e, err := t.lookup(k)
		if err != nil {
			return err
		}
		if k += max(1, e.Blocks); e.Kind != disk.Encoded {
			continue
		}
		length := int64(1)
		if t.markers {
			var p [markerSize]byte
			if err := disk.ReadStored(t.file, p[:], e.Offset); err != nil {
				return err
			}
			n := int64(binary.LittleEndian.Uint32(p[8:]))
			if n == 0 || n > maxStored(t.grain) {
				return errLength(e.Offset, n)
			}
			length = markerSize + n
		}
		if e.Offset > t.end-length {
			return errCut(e.Offset)
		}
	}
	return nil
}
