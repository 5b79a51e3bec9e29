package vhdx

import (
	"encoding/binary"
	"errors"
	"unicode/utf16"

	"instar/disk"
)

const (
	// pageSize is the unit of content where not all of a block has to be
	// written.
	pageSize = 4096

	// newRegionSize is that of the metadata region, and newGap what QEMU leaves
	// between it and the first block.
	newRegionSize = mebibyte
	newGap        = 4 * mebibyte

	newSector = 512 // logical and physical, bytes
)

// A writer stores blocks in the order in which content comes, as QEMU does. The
// log comes first, then the BAT and the metadata, and then blocks.
type writer struct {
	createOptions
	options  disk.WriterOptions
	target   disk.Target
	size     int64 // virtual, bytes
	table    *table
	bat      region
	metadata region
	last     int64 // the last block that is stored; -1 is none
	lastAt   int64 // and where
	end      int64 // of the file so far
}

func newWriter(t disk.Target, size int64, options createOptions, o disk.WriterOptions) *writer {
	w := &writer{createOptions: options, options: o, target: t, size: size, last: -1}
	blocks := (size + w.block - 1) / w.block
	ratio := chunkSectors * newSector / w.block
	entries := blocks + (blocks-1)/ratio
	room := entries
	if blocks == 0 {
		entries = 0
		room = (1<<32 - 1) / ratio // what QEMU looks for in an empty image
	}
	w.bat.start = mebibyte + w.log
	w.bat.end = w.bat.start + (max(room*8, 1)+mebibyte-1)/mebibyte*mebibyte
	w.metadata = region{w.bat.end, w.bat.end + newRegionSize}
	w.end = w.metadata.end + newGap
	w.table = &table{target: t, at: w.bat.start, entries: entries, ratio: ratio, block: w.block, blank: o.Zeroed || !o.Existing}
	switch {
	case w.fixed:
		w.table.first = w.end
		w.end += blocks * w.block
	case w.zeroState:
		w.table.absent = blockZero
	}
	return w
}

// Unit is a block where all of it has to be written, and less where it already
// reads as zeros.
func (w *writer) Unit() int64 {
	if w.table.blank || w.fixed {
		return pageSize
	}
	return w.block
}

// Place stores blocks in a row as long as they are.
func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	if w.fixed {
		return w.table.first + off, n, nil
	}
	index, in := off/w.block, off%w.block
	for start := index; ; index++ {
		if index > w.last {
			if err := w.alloc(index); err != nil {
				return 0, 0, err
			}
		}
		if index == start {
			at = w.lastAt + in
		}
		placed = (index-start+1)*w.block - in
		if placed >= n {
			return at, n, nil
		}
	}
}

// alloc stores a block behind all others.
func (w *writer) alloc(index int64) error {
	w.last, w.lastAt = index, w.end
	w.end += w.block
	return w.table.set(index, blockFullyPresent|uint64(w.lastAt))
}

// Zero leaves blocks out, unless all of the space is to be allocated. What is
// left out of a block that is stored reads as zeros in the file.
func (w *writer) Zero(off, n int64) error {
	switch {
	case w.options.Dense && !w.fixed:
		return errors.ErrUnsupported
	case w.fixed && (w.options.Dense || !w.table.blank):
		return w.target.Zero(w.table.first+off, n)
	}
	return nil
}

// Finish writes the tables and the headers; the identifier at the start, without
// which the rest is nothing, comes last.
func (w *writer) Finish() error {
	if err := w.table.finish(); err != nil {
		return err
	}
	if !w.options.Existing {
		if err := w.target.Truncate(w.end); err != nil {
			return err
		}
	}
	regions := w.encodeRegions()
	for _, part := range []struct {
		p  []byte
		at int64
	}{
		{w.encodeMetadata(), w.metadata.start},
		{regions, regionsAt},
		{regions, regionsCopyAt},
		{w.encodeHeader(1), headerAt},
		{w.encodeHeader(2), secondAt},
		{encodeIdentifier(), 0},
	} {
		if _, err := w.target.WriteAt(part.p, part.at); err != nil {
			return err
		}
	}
	return nil
}

// encodeIdentifier returns the file type identifier (section 2.2.1).
func encodeIdentifier() []byte {
	p := make([]byte, headerAt)
	copy(p, signature)
	for k, u := range utf16.Encode([]rune("instar")) {
		binary.LittleEndian.PutUint16(p[8+2*k:], u)
	}
	return p
}

// encodeHeader returns a header (section 2.2.2) of that sequence number, with an
// empty log.
func (w *writer) encodeHeader(sequence uint64) []byte {
	le := binary.LittleEndian
	p := make([]byte, headerSize)
	copy(p, "head")
	le.PutUint64(p[8:], sequence)
	w.putID(p[16:], "vhdx file write")
	w.putID(p[32:], "vhdx data write")
	le.PutUint16(p[66:], 1)
	le.PutUint32(p[68:], uint32(w.log))
	le.PutUint64(p[72:], mebibyte)
	le.PutUint32(p[4:], checksum(p))
	return p
}

// putID derives a GUID. The parts of one are stored with their lowest byte first.
func (w *writer) putID(p []byte, name string) {
	id := w.options.UUID(name)
	id[6], id[7] = id[7], id[6] // the version; elsewhere no order is better than another
	copy(p, id[:])
}

// encodeRegions returns the region table (section 2.2.3).
func (w *writer) encodeRegions() []byte {
	le := binary.LittleEndian
	p := make([]byte, regionsSize)
	copy(p, "regi")
	le.PutUint32(p[8:], 2)
	for k, r := range []struct {
		id guid
		region
	}{{regionBAT, w.bat}, {regionMetadata, w.metadata}} {
		e := p[16+32*k:]
		copy(e, r.id[:])
		le.PutUint64(e[16:], uint64(r.start))
		le.PutUint32(e[24:], uint32(r.end-r.start))
	}
	le.PutUint32(p[4:], checksum(p))
	return p
}

// encodeMetadata returns the metadata table and its items (section 2.6).
func (w *writer) encodeMetadata() []byte {
	le := binary.LittleEndian
	p := make([]byte, metadataTable+64)
	copy(p, "metadata")
	at, count := metadataTable, 0
	add := func(id guid, flags uint32, length int) []byte {
		e := p[32+32*count:]
		copy(e, id[:])
		le.PutUint32(e[16:], uint32(at))
		le.PutUint32(e[20:], uint32(length))
		le.PutUint32(e[24:], flags)
		count++
		at += length
		return p[at-length : at]
	}
	parameters := add(itemParameters, flagRequired, 8)
	le.PutUint32(parameters, uint32(w.block))
	if w.fixed {
		le.PutUint32(parameters[4:], flagLeaveAllocated)
	}
	le.PutUint64(add(itemSize, flagRequired|flagVirtualDisk, 8), uint64(w.size))
	id := add(itemDiskID, flagRequired|flagVirtualDisk, 16)
	w.putID(id, "vhdx disk id")
	le.PutUint32(add(itemLogicalSector, flagRequired|flagVirtualDisk, 4), newSector)
	physical := add(itemPhysicalSector, flagRequired|flagVirtualDisk, 4)
	le.PutUint32(physical, newSector)
	if old, ok := w.options.Old.(*image); ok {
		copy(id, old.meta.kept.id)
		copy(physical, old.meta.kept.physicalSector)
	}
	le.PutUint16(p[10:], uint16(count))
	return p
}
