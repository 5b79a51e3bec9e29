// Package blockmap lists the extents of images that map a virtual disk block
// by block through a table.
package blockmap

import "instar/disk"

// An Entry says how one block is stored, and how many blocks from there on are
// stored alike.
type Entry struct {
	Kind   disk.Kind
	Offset int64 // of the block in File, for Data
	// Blocks is how many blocks the entry speaks for; 0 is 1. More than one is
	// for tables of tables, where a missing one speaks for many.
	Blocks int64
}

// A Map is a virtual disk of Size bytes in blocks of Block bytes. Lookup finds
// the entry of a block by its index.
type Map struct {
	Size, Block int64
	File        disk.File
	Layer       disk.Disk // of Encoded extents
	Lookup      func(index int64) (Entry, error)
}

// maxLookups bounds the work of one call of Extent, which then returns a run
// that is shorter than it could be.
const maxLookups = 1 << 12

// Extent is disk.Disk's: blocks that are stored alike, and one after the other,
// are one run.
func (m *Map) Extent(off, limit int64) (disk.Extent, error) {
	limit = min(limit, m.Size-off)
	index := off / m.Block
	first, err := m.Lookup(index)
	if err != nil {
		return disk.Extent{}, err
	}
	e := disk.Extent{Start: off, Kind: first.Kind}
	switch first.Kind {
	case disk.Data:
		e.File, e.Offset = m.File, first.Offset+off%m.Block
	case disk.Encoded:
		e.Layer = m.Layer
	}
	next := m.after(index, first)
	for range maxLookups {
		if next-off >= limit {
			break
		}
		entry, err := m.Lookup(next / m.Block)
		if err != nil {
			break // the run ends before what cannot be trusted
		}
		if entry.Kind != e.Kind || (e.Kind == disk.Data && entry.Offset != e.Offset+next-off) {
			break
		}
		next = m.after(next/m.Block, entry)
	}
	e.Length = min(next-off, limit)
	return e, nil
}

// after returns where the blocks end that the entry of block index speaks for.
func (m *Map) after(index int64, e Entry) int64 {
	n := max(e.Blocks, 1)
	if n > (m.Size-1)/m.Block-index {
		return m.Size
	}
	return (index + n) * m.Block
}
