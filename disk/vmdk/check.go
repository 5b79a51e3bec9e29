package vmdk

import (
	"encoding/binary"
	"errors"

	"instar/disk"
	"instar/disk/internal/claims"
)

// Check is [disk.Checker]'s: of the tables of sparse extents, of compressed grains,
// and that nothing lies on anything else.
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

// What the parts of a sparse extent's file are used for.
const (
	useHeader claims.Kind = iota
	useDescriptor
	useDirectory
	useTable
	useGrain
)

var useNames = claims.Names{"the header", "the descriptor", "the grain directory", "a grain table", "a grain"}

// check checks the tables of an extent of size bytes.
func (t *tables) check(size int64) error {
	span := t.perTable * t.grain // of one grain table
	n := (size + span - 1) / span
	if err := disk.CheckWithin(formatName, t.file, "grain directory", t.directory, n*t.entrySize()); err != nil {
		return err
	}
	return claims.Check(func(l *claims.List) error {
		err := errors.Join(
			l.Claim(useHeader, 0, headerSize),
			l.Claim(useDescriptor, embeddedAt, t.text),
			l.Claim(useDirectory, t.directory, n*t.entrySize()),
		)
		for k := int64(0); k < n && err == nil; k++ {
			err = t.uses(l, k, size)
		}
		return err
	}, useNames.Once(formatName, useDirectory))
}

// uses checks a grain table and its grains, and lists where they are.
func (t *tables) uses(l *claims.List, index, size int64) error {
	at, err := t.grainTable(t.directory + index*t.entrySize())
	if err == nil && at != 0 {
		err = disk.CheckWithin(formatName, t.file, "grain table", at, t.perTable*t.entrySize())
	}
	if err != nil || at == 0 {
		return err
	}
	if err := l.Claim(useTable, at, t.perTable*t.entrySize()); err != nil {
		return err
	}
	for k, end := index*t.perTable, min((index+1)*t.perTable, (size+t.grain-1)/t.grain); k < end; {
		e, err := t.lookup(k)
		length := min(t.grain, size-k*t.grain) // the last one may be stored without the rest
		if err == nil && e.Kind == disk.Encoded {
			length, err = t.compressedLength(e.Offset)
		}
		if err == nil && (e.Kind == disk.Encoded || e.Kind == disk.Data) {
			err = l.Claim(useGrain, e.Offset, length)
		}
		if err != nil {
			return err
		}
		k += max(1, e.Blocks)
	}
	return nil
}

// compressedLength checks a compressed grain at an offset, and returns its length: 1
// if it is not known.
func (t *tables) compressedLength(at int64) (int64, error) {
	length := int64(1)
	if t.markers {
		var p [markerSize]byte
		if err := disk.ReadStored(t.file, p[:], at); err != nil {
			return 0, err
		}
		n := int64(binary.LittleEndian.Uint32(p[8:]))
		if n == 0 || n > maxStored(t.grain) {
			return 0, errLength(at, n)
		}
		length = markerSize + n
	}
	if at > t.end-length {
		return 0, errCut(at)
	}
	return length, nil
}
