// Package vdi reads and writes VirtualBox's disk images: a header, a table with one
// 32-bit entry for each block of 1 MiB, and the blocks.
//
// The layout is that of VirtualBox's VDICore.h. Dynamic and fixed images of
// version 1.1 are read; differencing images (with a parent or a link UUID) and
// blocks of another size are refused, as QEMU refuses them. An entry that
// points behind the end of the file reads as zeros.
//
// A disk may have 536870784 blocks, which is QEMU's limit. The table is read
// through a cache of 8 MiB.
package vdi

import (
	"encoding/binary"
	"errors"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/claims"
	"instar/disk/internal/metacache"
)

const (
	formatName = "vdi"
	signature  = 0xbeda107f
	version    = 1<<16 | 1
	headerSize = 512
	blockSize  = 1 << 20

	// Where the header has the ids of the image and of its last snapshot.
	idsAt     = 0x188
	idsLength = 32

	// QEMU's limit, by which the table fits into 2 GiB (block/vdi.c).
	maxBlocks = 0x1fffff80
	maxSize   = maxBlocks * blockSize

	// Entries of the table from here on are no blocks.
	discarded   = 0xfffffffe // reads as zeros
	unallocated = 0xffffffff
)

// Format is VirtualBox's format, version 1.1.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

func probe(head []byte) int {
	if len(head) >= 68 && binary.LittleEndian.Uint32(head[64:]) == signature {
		return 100
	}
	return 0
}

type image struct {
	blockmap.Map
	info       disk.Info
	table      *metacache.Cache
	tableAt    int64
	dataOffset int64
	ids        [idsLength]byte
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	var h [headerSize]byte
	if err := disk.ReadStored(f, h[:], 0); err != nil {
		return nil, err
	}
	size, err := check(h[:])
	if err != nil {
		return nil, err
	}
	i := &image{
		info:       disk.Info{Format: formatName, VirtualSize: size, ClusterSize: blockSize},
		table:      metacache.New(f),
		tableAt:    int64(binary.LittleEndian.Uint32(h[0x154:])),
		dataOffset: int64(binary.LittleEndian.Uint32(h[0x158:])),
	}
	i.ids = [idsLength]byte(h[idsAt:])
	i.info.Options = map[string]string{"static": "off"}
	if binary.LittleEndian.Uint32(h[0x4c:]) == typeStatic {
		i.info.Options["static"] = "on"
	}
	i.Map = blockmap.Map{Size: size, Block: blockSize, File: f, Lookup: i.lookup}
	return i, nil
}

// check checks the header and returns the virtual size in bytes.
func check(h []byte) (int64, error) {
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(h[off:]) }
	declared, blocks := binary.LittleEndian.Uint64(h[0x170:]), u32(0x180)
	if declared > maxSize {
		return 0, disk.Unsupportedf(formatName, "Unsupported VDI image size (size is %#x, max supported is %#x)", declared, int64(maxSize))
	}
	size := int64(declared+disk.SectorSize-1) &^ (disk.SectorSize - 1)
	unsupported := func(format string, args ...any) (int64, error) {
		return 0, disk.Unsupportedf(formatName, "unsupported VDI image ("+format+")", args...)
	}
	switch {
	case u32(0x40) != signature:
		return 0, disk.Corruptf(formatName, "Image not in VDI format (bad signature %08x)", u32(0x40))
	case u32(0x44) != version:
		return unsupported("version %d.%d", u32(0x44)>>16, u32(0x44)&0xffff)
	case u32(0x154)%disk.SectorSize != 0:
		return unsupported("unaligned block map offset %#x", u32(0x154))
	case u32(0x158)%disk.SectorSize != 0:
		return unsupported("unaligned data offset %#x", u32(0x158))
	case u32(0x168) != disk.SectorSize:
		return unsupported("sector size %d is not %d", u32(0x168), disk.SectorSize)
	case u32(0x178) != blockSize:
		return unsupported("block size %d is not %d", u32(0x178), blockSize)
	case size > int64(blocks)*blockSize:
		return unsupported("disk size %d, image bitmap has room for %d", size, int64(blocks)*blockSize)
	case [16]byte(h[0x1a8:]) != [16]byte{}:
		return unsupported("non-NULL link UUID")
	case [16]byte(h[0x1b8:]) != [16]byte{}:
		return unsupported("non-NULL parent UUID")
	case blocks > maxBlocks:
		return unsupported("too many blocks %d, max is %d", blocks, maxBlocks)
	}
	return size, nil
}

func (i *image) lookup(index int64) (blockmap.Entry, error) {
	p, err := i.table.View(i.tableAt+index*4, 4)
	if err != nil {
		return blockmap.Entry{}, err
	}
	return i.entry(p), nil
}

// entry returns what the entry says that p begins with.
func (i *image) entry(p []byte) blockmap.Entry {
	switch entry := binary.LittleEndian.Uint32(p); entry {
	case unallocated:
		return blockmap.Entry{Kind: disk.Unallocated}
	case discarded:
		return blockmap.Entry{Kind: disk.Zero}
	default:
		return blockmap.Entry{Kind: disk.Data, Offset: i.dataOffset + int64(entry)*blockSize}
	}
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.Map.Size }

func (i *image) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(i, p, off) }

// What the parts of the file are used for.
const (
	useHeader claims.Kind = iota
	useMap
	useBlock
)

var useNames = claims.Names{"the header", "the block map", "a block"}

// Check is [disk.Checker]'s: of the block map, and that no block lies on another.
func (i *image) Check() error {
	blocks := (i.Size() + blockSize - 1) / blockSize
	if err := disk.CheckWithin(formatName, i.File, "block map", i.tableAt, 4*blocks); err != nil {
		return err
	}
	return claims.Check(func(l *claims.List) error {
		if err := errors.Join(l.Claim(useHeader, 0, headerSize), l.Claim(useMap, i.tableAt, 4*blocks)); err != nil {
			return err
		}
		return i.table.Each(i.tableAt, blocks, 4, func(_ int64, p []byte) error {
			for ; len(p) > 0; p = p[4:] {
				e := i.entry(p)
				if e.Kind != disk.Data {
					continue
				}
				if err := l.Claim(useBlock, e.Offset, blockSize); err != nil {
					return err
				}
			}
			return nil
		})
	}, useNames.Once(formatName, 0))
}
