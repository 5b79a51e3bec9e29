// Package parallels reads and writes Parallels' expandable disk images: a header, the
// block allocation table (BAT) behind it, and the clusters.
//
// The layout is in QEMU's docs/interop/parallels.txt. Both generations are
// read: "WithoutFreeSpace", whose BAT counts sectors, and "WithouFreSpacExt",
// whose BAT counts clusters. Images with a format extension (dirty bitmaps) are
// refused, and so are clusters that QEMU refuses. An image in use is read.
//
// A cluster may have 4186127 sectors and the BAT 536870911 entries, which are
// QEMU's limits. The BAT is read through a cache of 8 MiB.
package parallels

import (
	"encoding/binary"
	"math"
	"strconv"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/claims"
	"instar/disk/internal/metacache"
)

const (
	formatName = "parallels"
	magicV1    = "WithoutFreeSpace"
	magicV2    = "WithouFreSpacExt"
	version    = 2
	headerSize = 64
	inUse      = 0x746f6e59

	// QEMU's limits (block/parallels.c): in sectors, and in entries.
	maxTracks  = math.MaxInt32 / 513
	maxEntries = math.MaxInt32 / 4
)

// Format is Parallels' format, version 2.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

func probe(head []byte) int {
	if len(head) < headerSize || binary.LittleEndian.Uint32(head[16:]) != version {
		return 0
	}
	if m := string(head[:16]); m == magicV1 || m == magicV2 {
		return 100
	}
	return 0
}

type image struct {
	blockmap.Map
	info    disk.Info
	table   *metacache.Cache
	entries int64
	unit    int64 // bytes that an entry of the BAT counts
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	var h [headerSize]byte
	if err := disk.ReadStored(f, h[:], 0); err != nil {
		return nil, err
	}
	i := &image{table: metacache.New(f)}
	size, cluster, err := i.check(h[:])
	if err != nil {
		return nil, err
	}
	i.info = disk.Info{
		Format:      formatName,
		VirtualSize: size,
		Dirty:       binary.LittleEndian.Uint32(h[44:]) == inUse,
		Options:     map[string]string{"cluster_size": strconv.FormatInt(cluster, 10)},
	}
	i.Map = blockmap.Map{Size: size, Block: cluster, File: f, Lookup: i.lookup}
	return i, nil
}

// check checks the header and returns the virtual size and the cluster size,
// in bytes.
func (i *image) check(h []byte) (size, cluster int64, err error) {
	le := binary.LittleEndian
	magic, tracks, entries, sectors := string(h[:16]), le.Uint32(h[28:]), le.Uint32(h[32:]), le.Uint64(h[36:])
	if le.Uint32(h[16:]) != version || (magic != magicV1 && magic != magicV2) {
		return 0, 0, disk.Corruptf(formatName, "Image not in Parallels format")
	}
	if magic == magicV1 {
		sectors &= math.MaxUint32
	}
	switch {
	case tracks == 0:
		return 0, 0, disk.Corruptf(formatName, "Invalid image: Zero sectors per track")
	case tracks > maxTracks:
		return 0, 0, disk.Corruptf(formatName, "Invalid image: Too big cluster")
	case entries > maxEntries:
		return 0, 0, disk.Corruptf(formatName, "Catalog too large")
	case sectors > math.MaxInt64/disk.SectorSize:
		return 0, 0, disk.Corruptf(formatName, "Image too large")
	case le.Uint64(h[56:]) != 0:
		return 0, 0, disk.Unsupportedf(formatName, "parallels format extensions are not supported")
	}
	cluster = int64(tracks) * disk.SectorSize
	i.entries, i.unit = int64(entries), disk.SectorSize
	if magic == magicV2 {
		i.unit = cluster
	}
	return int64(sectors) * disk.SectorSize, cluster, nil
}

func (i *image) lookup(index int64) (blockmap.Entry, error) {
	if index >= i.entries {
		return blockmap.Entry{Kind: disk.Unallocated, Blocks: math.MaxInt64}, nil
	}
	p, err := i.table.View(headerSize+index*4, 4)
	if err != nil {
		return blockmap.Entry{}, err
	}
	if at := i.cluster(p); at != 0 {
		return blockmap.Entry{Kind: disk.Data, Offset: at}, nil
	}
	return blockmap.Entry{Kind: disk.Unallocated}, nil
}

// cluster returns where the cluster is of the entry that p begins with; 0 is nowhere.
func (i *image) cluster(p []byte) int64 { return int64(binary.LittleEndian.Uint32(p)) * i.unit }

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.Map.Size }

func (i *image) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(i, p, off) }

// What the parts of the file are used for.
const (
	useBAT claims.Kind = iota
	useCluster
)

var useNames = claims.Names{"the header with the BAT", "a cluster"}

// Check is [disk.Checker]'s: of the BAT, and that no cluster lies on another.
func (i *image) Check() error {
	if err := disk.CheckWithin(formatName, i.File, "BAT", headerSize, 4*i.entries); err != nil {
		return err
	}
	clusters := min(i.entries, (i.Size()+i.Block-1)/i.Block)
	return claims.Check(func(l *claims.List) error {
		if err := l.Claim(useBAT, 0, headerSize+4*clusters); err != nil {
			return err
		}
		return i.table.Each(headerSize, clusters, 4, func(index int64, p []byte) error {
			for ; len(p) > 0; p = p[4:] {
				if at := i.cluster(p); at != 0 {
					if err := l.Claim(useCluster, at, min(i.Block, i.Size()-index*i.Block)); err != nil {
						return err
					}
				}
				index++
			}
			return nil
		})
	}, useNames.Once(formatName, 0))
}
