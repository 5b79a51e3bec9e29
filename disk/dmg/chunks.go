package dmg

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"instar/disk"
)

// The kinds of chunk.
const (
	kindZero       = 0x00000000
	kindRaw        = 0x00000001
	kindIgnore     = 0x00000002 // unused space: zeros
	kindComment    = 0x7ffffffe
	kindADC        = 0x80000004
	kindZlib       = 0x80000005
	kindBzip2      = 0x80000006
	kindLZFSE      = 0x80000007
	kindTerminator = 0xffffffff
)

const (
	tableMagic  = "mish"
	tableHeader = 204
	chunkSize   = 40 // of an entry

	// Limits of a chunk that takes memory (QEMU's).
	maxStored  = 64 << 20
	maxSectors = maxStored / disk.SectorSize
)

// A chunk is a run of sectors that are stored in one way.
type chunk struct {
	kind           uint32
	sector, count  int64
	offset, length int64 // where it is stored in the file
}

// end returns the first sector behind a chunk.
func (c *chunk) end() int64 { return c.sector + c.count }

// size returns the length of the content.
func (c *chunk) size() int64 { return c.count * disk.SectorSize }

// zero reports whether a chunk reads as zeros.
func (c *chunk) zero() bool { return c.kind == kindZero || c.kind == kindIgnore }

// alike reports whether a chunk holds what another one holds, being stored in
// the same place.
func (c *chunk) alike(d *chunk) bool {
	return c.kind == d.kind && c.count == d.count && c.offset == d.offset && c.length == d.length
}

// tables collects the chunks of all tables.
type tables struct {
	data   int64 // offset of the data fork
	chunks []chunk
}

// add takes the chunks of a table. What is no table is left alone.
func (t *tables) add(p []byte) error {
	if len(p) < tableHeader+chunkSize || string(p[:4]) != tableMagic {
		return nil
	}
	first, data := binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint64(p[24:])+uint64(t.data)
	for p = p[tableHeader:]; len(p) >= chunkSize; p = p[chunkSize:] {
		kind := binary.BigEndian.Uint32(p)
		number := func(at int) uint64 { return binary.BigEndian.Uint64(p[at:]) }
		sector, count, offset, length := number(8)+first, number(16), number(24)+data, number(32)
		if kind == kindComment || kind == kindTerminator || count == 0 {
			continue
		}
		c := chunk{kind, int64(sector), int64(count), int64(offset), int64(length)}
		if err := c.check(); err != nil {
			return err
		}
		t.chunks = append(t.chunks, c)
	}
	return nil
}

// check refuses a chunk that is not within what can be.
func (c *chunk) check() error {
	const most = math.MaxInt64 / disk.SectorSize
	switch {
	case c.sector < 0 || c.count < 0 || c.sector > most || c.count > most-c.sector:
		return disk.Corruptf(formatName, "a chunk of %d sectors at sector %d", uint64(c.count), uint64(c.sector))
	case c.zero():
		return nil
	case c.length < 0 || c.offset < 0 || c.offset > math.MaxInt64-c.length:
		return disk.Corruptf(formatName, "a chunk is stored at offset %#x with length %#x", uint64(c.offset), uint64(c.length))
	case c.count > maxSectors:
		return disk.Corruptf(formatName, "sector count %d for the chunk at sector %d is larger than max (%d)", c.count, c.sector, maxSectors)
	case c.length > maxStored:
		return disk.Corruptf(formatName, "length %d for the chunk at sector %d is larger than max (%d)", c.length, c.sector, maxStored)
	case c.kind == kindRaw && c.length < c.size():
		return disk.Corruptf(formatName, "the chunk at sector %d has %d bytes for %d sectors", c.sector, c.length, c.count)
	}
	return nil
}

// sorted returns the chunks in the order of their sectors. No sector may be in
// two of them.
func (t *tables) sorted() ([]chunk, error) {
	if len(t.chunks) == 0 {
		return nil, disk.Corruptf(formatName, "the tables have no chunks")
	}
	bySector := func(a, b chunk) int { return cmp.Compare(a.sector, b.sector) }
	if !slices.IsSortedFunc(t.chunks, bySector) {
		slices.SortStableFunc(t.chunks, bySector)
	}
	for k := range t.chunks[1:] {
		if a, b := &t.chunks[k], &t.chunks[k+1]; b.sector < a.end() {
			return nil, disk.Corruptf(formatName, "sector %d is in two chunks", b.sector)
		}
	}
	return t.chunks, nil
}
