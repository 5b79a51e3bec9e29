package vpc

import (
	"bytes"
	"encoding/binary"
	"errors"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/claims"
	"instar/disk/internal/flat"
	"instar/disk/internal/sectormap"
)

// Format is the virtual hard disk. A fixed one has nothing to be recognized by
// at the start of the file, and is only opened by name.
var Format = disk.Format{Name: formatName, Probe: probe, ProbeEnd: probeEnd, Open: disk.WithoutSnapshots(formatName, open), Create: create}

func probe(head []byte) int {
	if bytes.HasPrefix(head, []byte(cookie)) {
		return 100
	}
	return 0
}

// probeEnd reports whether p is the footer of a fixed disk.
func probeEnd(p []byte) bool {
	return len(p) == footerSize && string(p[:8]) == cookie && parseFooter(p).diskType == typeFixed &&
		sealed(p, footerSum)
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	h, err := readFooter(f)
	if err != nil {
		return nil, err
	}
	info := disk.Info{Format: formatName, VirtualSize: h.size(), Identity: identity(h.uniqueID)}
	if h.diskType == typeFixed {
		info.Options = map[string]string{"force_size": "on", "subformat": "fixed"}
		return &fixed{f, info, h}, nil
	}
	d, err := readDynamic(f, h.dataOffset, h.size())
	if err != nil {
		return nil, err
	}
	info.ClusterSize = d.blockSize
	info.Options = map[string]string{"force_size": "on"} // the size is what a geometry made of it
	i := &sparse{dynamic: d, info: info, footer: h}
	i.Map = blockmap.Map{Size: h.size(), Block: d.blockSize, File: f, Lookup: i.lookup}
	if h.diskType == typeDifferencing {
		if d.bitmapSize == 0 {
			return nil, disk.Corruptf(formatName, "Invalid block size %d", d.blockSize)
		}
		parent, err := d.parent(f)
		if err != nil {
			return nil, err
		}
		i.info.References = []disk.Reference{parent}
		i.info.Lost = "it is a differencing disk"
		i.Map.Block, i.Map.Lookup = disk.SectorSize, i.lookupSector
	}
	return i, nil
}

// A fixed is a fixed disk.
type fixed struct {
	file   disk.File
	info   disk.Info
	footer *footer
}

func (i *fixed) storedFooter() [footerSize]byte { return i.footer.stored }

func (i *fixed) Info() *disk.Info { return &i.info }

func (i *fixed) Size() int64 { return i.info.VirtualSize }

func (i *fixed) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(i, p, off) }

func (i *fixed) Extent(off, limit int64) (disk.Extent, error) {
	return flat.Extent(i.file, off, off, min(limit, i.Size()-off))
}

// A sparse is a dynamic or differencing disk.
type sparse struct {
	blockmap.Map
	*dynamic
	info   disk.Info
	footer *footer
}

func (i *sparse) storedFooter() [footerSize]byte { return i.footer.stored }

func (i *sparse) Info() *disk.Info { return &i.info }

func (i *sparse) Size() int64 { return i.info.VirtualSize }

func (i *sparse) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(i, p, off) }

// Check is [disk.Checker]'s: of what the disk can be read without, and that no block
// lies on another, or on a table.
func (i *sparse) Check() error {
	if !i.sealed {
		return disk.Corruptf(formatName, "the checksum of the dynamic disk header is wrong")
	}
	if err := disk.CheckWithin(formatName, i.File, "footer", i.fileSize-footerSize, footerSize); err != nil {
		return err
	}
	var p [footerSize]byte
	if err := readLast(i.File, p[:]); err != nil {
		return err
	}
	if string(p[:8]) != cookie || !sealed(p[:], footerSum) {
		return disk.Corruptf(formatName, "there is no footer at the end of the file, or it is damaged")
	}
	return claims.Check(i.uses, useNames.Once(formatName, useBlock))
}

// What the parts of the file are used for.
const (
	useCopy claims.Kind = iota
	useHeader
	useBAT
	useFooter
	useBlock
)

var useNames = claims.Names{"the copy of the footer", "the dynamic disk header", "the BAT", "the footer", "a block"}

// uses lists what the parts of the file are used for. A file may end in the last
// block where the disk ends.
func (i *sparse) uses(l *claims.List) error {
	blocks := (i.Size() + i.blockSize - 1) / i.blockSize
	err := errors.Join(
		l.Claim(useCopy, 0, footerSize),
		l.Claim(useHeader, int64(i.footer.dataOffset), dynamicSize),
		l.Claim(useBAT, i.batOffset, 4*blocks),
		l.Claim(useFooter, i.fileSize-footerSize, footerSize),
	)
	if err != nil {
		return err
	}
	return i.tables.Each(i.batOffset, blocks, 4, func(index int64, p []byte) error {
		for ; len(p) > 0; p = p[4:] {
			if entry := binary.BigEndian.Uint32(p); entry != unallocated {
				n := min(i.blockSize, i.Size()-index*i.blockSize)
				if err := l.Claim(useBlock, int64(entry)*disk.SectorSize, i.bitmapSize+n); err != nil {
					return err
				}
			}
			index++
		}
		return nil
	})
}

// lookup finds the block of a dynamic disk, or a run of blocks that are not
// stored.
func (i *sparse) lookup(index int64) (blockmap.Entry, error) {
	at, ok, err := i.block(index)
	if err != nil {
		return blockmap.Entry{}, err
	}
	if !ok {
		n, err := i.absent(index)
		return blockmap.Entry{Blocks: n}, err
	}
	return blockmap.Entry{Kind: disk.Data, Offset: at + i.bitmapSize}, nil
}

// lookupSector finds a sector of a differencing disk, and those behind it in
// its block that the sector bitmap says the same of.
func (i *sparse) lookupSector(sector int64) (blockmap.Entry, error) {
	perBlock := i.blockSize / disk.SectorSize
	in := sector % perBlock
	at, ok, err := i.block(sector / perBlock)
	if err != nil {
		return blockmap.Entry{}, err
	}
	if !ok {
		n, err := i.absent(sector / perBlock)
		return blockmap.Entry{Blocks: n*perBlock - in}, err
	}
	// A bitmap is looked at in pieces of one sector, which stand for 4096 sectors.
	const perPiece = disk.SectorSize * 8
	bitmap, err := i.tables.View(at+in/perPiece*disk.SectorSize, disk.SectorSize)
	if err != nil {
		return blockmap.Entry{}, err
	}
	stored, n := sectormap.Run(bitmap, sectormap.HighestFirst, in%perPiece, min(perPiece, perBlock-in/perPiece*perPiece))
	if !stored {
		return blockmap.Entry{Blocks: n}, nil
	}
	return blockmap.Entry{Kind: disk.Data, Offset: at + i.bitmapSize + in*disk.SectorSize, Blocks: n}, nil
}
