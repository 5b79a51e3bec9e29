package vhdx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/claims"
	"instar/disk/internal/metacache"
	"instar/disk/internal/sectormap"
)

// Format is Hyper-V's virtual hard disk, version 2.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

// States of BAT entries (sections 2.5.1.1 and 2.5.1.2).
const (
	blockNotPresent       = 0
	blockUndefined        = 1
	blockZero             = 2
	blockUnmapped         = 3
	blockUnmappedOld      = 5 // as before version 1.0 of the format
	blockFullyPresent     = 6
	blockPartiallyPresent = 7
	bitmapPresent         = 6

	// chunkSectors is how many sectors the bitmap of one chunk is for.
	chunkSectors = 1 << 23

	// checkedEntries is how many entries of the BAT are checked when an image
	// is opened: the others are when they are used.
	checkedEntries = 1 << 20
)

func probe(head []byte) int {
	if bytes.HasPrefix(head, []byte(signature)) {
		return 100
	}
	return 0
}

type image struct {
	blocks   blockmap.Map
	meta     *metadata
	layout   *layout
	info     disk.Info
	file     disk.File
	replayed *replayed // nil when the log was empty
	fileSize int64
	tables   *metacache.Cache
	ratio    int64 // blocks of a chunk
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	var id [len(signature)]byte
	if err := disk.ReadStored(f, id[:], 0); err != nil {
		return nil, err
	}
	if string(id[:]) != signature {
		return nil, disk.Corruptf(formatName, "Invalid argument")
	}
	h, err := readHeader(f)
	if err != nil {
		return nil, err
	}
	current, err := readLog(f, h)
	if err != nil {
		return nil, err
	}
	i := &image{file: f, tables: metacache.New(current)}
	i.replayed, _ = current.(*replayed)
	if i.layout, err = readLayout(current, h); err != nil {
		return nil, err
	}
	if i.meta, err = readMetadata(current, i.layout.metadata); err != nil {
		return nil, err
	}
	if i.fileSize, err = current.Size(); err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	i.blocks = blockmap.Map{Size: i.meta.size, Block: disk.SectorSize, File: current, Lookup: i.lookup}
	i.ratio = chunkSectors * i.meta.logicalSector / i.meta.block
	i.info = disk.Info{
		Format: formatName, VirtualSize: i.meta.size, ClusterSize: i.meta.block,
		Dirty: i.replayed != nil, Identity: h.dataWrite.String(), Options: i.meta.options(h),
	}
	if i.meta.logicalSector != newSector {
		i.info.Lost = fmt.Sprintf("it has sectors of %d bytes", i.meta.logicalSector)
	}
	if i.meta.parent != nil {
		i.info.Lost = "it is a differencing disk"
		i.info.References = []disk.Reference{*i.meta.parent}
	}
	return i, i.checkBAT()
}

// options are those that the disk is created by.
func (m *metadata) options(h *header) map[string]string {
	o := map[string]string{"block_size": strconv.FormatInt(m.block, 10), "subformat": "dynamic"}
	if h.logLength > 0 {
		o["log_size"] = strconv.FormatInt(h.logLength, 10)
	}
	if m.fixed {
		o["subformat"] = "fixed"
	}
	return o
}

// Check is [disk.Checker]'s: of the log, the regions, and both of their tables, and
// that no block lies on another.
func (i *image) Check() error {
	p := make([]byte, regionsSize)
	for _, at := range []int64{regionsAt, regionsCopyAt} {
		if err := disk.ReadStored(i.blocks.File, p, at); err != nil {
			return err
		}
		if !checked(p, "regi") {
			return disk.Corruptf(formatName, "the region table at offset %#x is not valid", at)
		}
	}
	for _, r := range i.layout.taken {
		if err := disk.CheckWithin(formatName, i.blocks.File, "region", r.start, r.end-r.start); err != nil {
			return err
		}
	}
	return claims.Check(i.uses, useNames.Once(formatName, 0))
}

// What the parts of the file are used for, where no region is.
const (
	useBitmap claims.Kind = iota
	useBlock
)

var useNames = claims.Names{"a sector bitmap", "a block"}

// uses lists where blocks and sector bitmaps are.
func (i *image) uses(l *claims.List) error {
	return i.tables.Each(i.layout.bat.start, i.batEntries(), 8, func(at int64, p []byte) error {
		for ; len(p) > 0; p = p[8:] {
			e := binary.LittleEndian.Uint64(p)
			chunk, in := at/(i.ratio+1), at%(i.ratio+1)
			at++
			use, offset, n := useBlock, int64(e&^(mebibyte-1)), min(i.meta.block, i.meta.size-(chunk*i.ratio+in)*i.meta.block)
			switch state := int(e & 7); {
			case in == i.ratio && (state != bitmapPresent || i.meta.parent == nil):
				continue
			case in == i.ratio:
				use, n = useBitmap, chunkSectors/8
			case state != blockFullyPresent && state != blockPartiallyPresent:
				continue
			}
			if err := l.Claim(use, offset, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// batEntries returns how many entries of the BAT the disk takes.
func (i *image) batEntries() int64 {
	blocks := (i.meta.size + i.meta.block - 1) / i.meta.block
	switch {
	case blocks == 0:
		return 0
	case i.meta.parent != nil:
		return (blocks + i.ratio - 1) / i.ratio * (i.ratio + 1)
	}
	return blocks + (blocks-1)/i.ratio
}

// checkBAT checks that the BAT has room for all blocks, and where the first of
// them are.
func (i *image) checkBAT() error {
	blocks := (i.meta.size + i.meta.block - 1) / i.meta.block
	if blocks == 0 {
		return nil
	}
	entries := i.batEntries()
	if room := (i.layout.bat.end - i.layout.bat.start) / 8; entries > room {
		return disk.Corruptf(formatName, "VHDX BAT has room for %d entries, and %d are needed", room, entries)
	}
	for index := range min(blocks, checkedEntries) {
		if _, _, err := i.entry(index); err != nil {
			return err
		}
	}
	return nil
}

// entry returns the BAT entry of a block: its state, and where it is stored if
// it is.
func (i *image) entry(index int64) (state int, offset int64, err error) {
	at := index + index/i.ratio // bitmaps are interleaved
	state, offset, err = i.rawEntry(at)
	if err != nil || (state != blockFullyPresent && state != blockPartiallyPresent) {
		return state, 0, err
	}
	// QEMU makes files that end with the disk in the last block.
	return state, offset, i.checkPlace(at, offset, offset+min(i.meta.block, i.meta.size-index*i.meta.block))
}

func (i *image) rawEntry(at int64) (state int, offset int64, err error) {
	var p [8]byte
	if err := i.tables.ReadAt(p[:], i.layout.bat.start+8*at); err != nil {
		return 0, 0, err
	}
	e := binary.LittleEndian.Uint64(p[:])
	if e >= 1<<62 {
		return 0, 0, disk.Corruptf(formatName, "VHDX BAT entry %d offset overflow.", at)
	}
	return int(e & 7), int64(e &^ (mebibyte - 1)), nil
}

// alike returns how many blocks have the same BAT entry from a block on, as far
// as one look at the BAT and one chunk show.
func (i *image) alike(index int64) (int64, error) {
	p, err := i.tables.View(i.layout.bat.start+8*(index+index/i.ratio), 8*(i.ratio-index%i.ratio))
	if err != nil {
		return 0, err
	}
	n := 8
	for n+8 <= len(p) && [8]byte(p[n:]) == [8]byte(p) {
		n += 8
	}
	return int64(n) / 8, nil
}

// checkPlace checks that what the BAT entry at says to be stored in
// [start, end) can be.
func (i *image) checkPlace(at, start, end int64) error {
	switch {
	case start >= i.fileSize:
		return disk.Corruptf(formatName, "VHDX BAT entry %d start offset %d points after end of file (%d). Image has probably been truncated.", at, start, i.fileSize)
	case end > i.fileSize:
		return disk.Corruptf(formatName, "VHDX BAT entry %d end offset %d points after end of file (%d). Image has probably been truncated.", at, end-1, i.fileSize)
	case !i.layout.free(start, end):
		return disk.Corruptf(formatName, "VHDX BAT entry %d points to %d-%d, where a region is", at, start, end)
	}
	return nil
}

// lookup finds a sector of 512 bytes, and those behind it in its block that are
// stored alike.
func (i *image) lookup(sector int64) (blockmap.Entry, error) {
	perBlock := i.meta.block / disk.SectorSize
	index, in := sector/perBlock, sector%perBlock
	state, offset, err := i.entry(index)
	if err != nil {
		return blockmap.Entry{}, err
	}
	e := blockmap.Entry{Blocks: perBlock - in}
	switch state {
	case blockNotPresent, blockUndefined, blockZero, blockUnmapped, blockUnmappedOld:
		if state != blockNotPresent {
			e.Kind = disk.Zero
		}
		n, err := i.alike(index)
		e.Blocks = n*perBlock - in
		return e, err
	case blockFullyPresent:
		e.Kind, e.Offset = disk.Data, offset+in*disk.SectorSize
		return e, nil
	case blockPartiallyPresent:
		if i.meta.parent != nil {
			return i.lookupPartial(index, in, offset)
		}
	}
	return e, disk.Corruptf(formatName, "block %d has the invalid state %d", index, state)
}

// lookupPartial finds the sector in of a block that is stored in part, at
// offset: a bitmap for each chunk of blocks says which sectors are.
func (i *image) lookupPartial(index, in, offset int64) (blockmap.Entry, error) {
	chunk := index / i.ratio
	at := chunk*(i.ratio+1) + i.ratio
	state, start, err := i.rawEntry(at)
	if err != nil {
		return blockmap.Entry{}, err
	}
	if state != bitmapPresent {
		return blockmap.Entry{}, disk.Corruptf(formatName, "block %d is stored in part, and its bitmap is not", index)
	}
	if err := i.checkPlace(at, start, start+chunkSectors/8); err != nil {
		return blockmap.Entry{}, err
	}
	// Of the bitmap, look at one piece of a sector at a time. Its bits stand
	// for logical sectors, of 512 bytes or more.
	const perPiece = disk.SectorSize * 8
	scale := i.meta.logicalSector / disk.SectorSize
	first := index % i.ratio * (i.meta.block / i.meta.logicalSector) // bit of the block's first sector
	bit := first + in/scale
	piece := bit / perPiece
	bitmap, err := i.tables.View(start+piece*disk.SectorSize, disk.SectorSize)
	if err != nil {
		return blockmap.Entry{}, err
	}
	end := min(first+i.meta.block/i.meta.logicalSector, (piece+1)*perPiece)
	stored, n := sectormap.Run(bitmap, sectormap.LowestFirst, bit%perPiece, end-piece*perPiece)
	e := blockmap.Entry{Blocks: n*scale - in%scale}
	if stored {
		e.Kind, e.Offset = disk.Data, offset+in*disk.SectorSize
	}
	return e, nil
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.meta.size }

// Extent is [disk.Disk]'s. What the log changes can only be read here.
func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	e, err := i.blocks.Extent(off, limit)
	if err != nil || i.replayed == nil || e.Kind != disk.Data {
		return e, err
	}
	if i.replayed.changes(e.Offset, e.Offset+e.Length) {
		return disk.Extent{Start: e.Start, Length: e.Length, Kind: disk.Encoded, Layer: i}, nil
	}
	e.File = i.file
	return e, nil
}

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadExtents(contents{i}, p, off)
}

// contents is the image with extents in the file as the log has left it.
type contents struct{ *image }

func (c contents) Extent(off, limit int64) (disk.Extent, error) { return c.blocks.Extent(off, limit) }
