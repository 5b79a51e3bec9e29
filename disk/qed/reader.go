package qed

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/claims"
	"instar/disk/internal/metacache"
)

// Format is QED.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

func probe(head []byte) int {
	if len(head) >= headerSize && string(head[:4]) == magic {
		return 100
	}
	return 0
}

type image struct {
	blockmap.Map
	header
	info   disk.Info
	table  *metacache.Cache
	length int64 // of the file
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	length, err := f.Size()
	if err != nil {
		return nil, err
	}
	var p [headerSize]byte
	if err := disk.ReadStored(f, p[:], 0); err != nil {
		return nil, err
	}
	if string(p[:4]) != magic {
		return nil, disk.Corruptf(formatName, "Image not in QED format")
	}
	i := &image{header: decodeHeader(p[:]), table: metacache.New(f), length: length}
	if err := i.check(length); err != nil {
		return nil, err
	}
	i.info = disk.Info{
		Format:      formatName,
		VirtualSize: int64(i.header.size),
		ClusterSize: int64(i.clusterSize),
		Dirty:       i.features&featureNeedCheck != 0,
		Options: map[string]string{
			"cluster_size": strconv.FormatUint(uint64(i.clusterSize), 10),
			"table_size":   strconv.FormatUint(uint64(i.tableSize), 10),
		},
	}
	i.Map = blockmap.Map{Size: i.info.VirtualSize, Block: i.info.ClusterSize, File: f, Lookup: i.lookup}
	return i, i.readBackingFile(f)
}

// readBackingFile reads the name of the backing file, which must be in the
// header's clusters.
func (i *image) readBackingFile(f disk.File) error {
	if i.features&featureBacking == 0 {
		return nil
	}
	if uint64(i.nameOffset)+uint64(i.nameLength) > uint64(i.headerSize)*uint64(i.clusterSize) || i.nameLength > maxBackingName {
		return disk.Corruptf(formatName, "QED backing file name is invalid")
	}
	name := make([]byte, i.nameLength)
	if err := disk.ReadStored(f, name, int64(i.nameOffset)); err != nil {
		return err
	}
	s, _, _ := strings.Cut(string(name), "\x00")
	if s == "" {
		return nil
	}
	ref := disk.Reference{Kind: disk.BackingFile, Names: []string{s}}
	if i.features&featureRaw != 0 {
		ref.Format = "raw"
	}
	i.info.References = []disk.Reference{ref}
	return nil
}

// entry returns an entry of a table.
func (i *image) entry(table uint64, index int64) (uint64, error) {
	p, err := i.table.View(int64(table)+8*index, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(p), nil
}

func (i *image) lookup(index int64) (blockmap.Entry, error) {
	n := i.entries()
	l2, err := i.entry(i.l1, index/n)
	switch {
	case err != nil:
		return blockmap.Entry{}, err
	case l2 == 0:
		return blockmap.Entry{Kind: disk.Unallocated, Blocks: n - index%n}, nil
	case !i.inside(l2, i.tableBytes(), i.length):
		return blockmap.Entry{}, disk.Corruptf(formatName, "L2 table offset %#x is invalid", l2)
	}
	switch offset, err := i.entry(l2, index%n); {
	case err != nil:
		return blockmap.Entry{}, err
	case offset == 0:
		return blockmap.Entry{Kind: disk.Unallocated}, nil
	case offset == zeroCluster:
		return blockmap.Entry{Kind: disk.Zero}, nil
	case !i.inside(offset, int64(i.clusterSize), i.length):
		return blockmap.Entry{}, disk.Corruptf(formatName, "cluster offset %#x is invalid", offset)
	default:
		return blockmap.Entry{Kind: disk.Data, Offset: int64(offset)}, nil
	}
}

// zeroCluster is the entry of a cluster that reads as zeros.
const zeroCluster = 1

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.Map.Size }

func (i *image) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(i, p, off) }

// What the clusters of the file are used for.
const (
	useHeader claims.Kind = iota
	useL1
	useL2
	useCluster
)

var useNames = claims.Names{"the header", "the L1 table", "an L2 table", "a data cluster"}

// Check is [disk.Checker]'s: of the tables, the last of which a file may end in to
// be read, and that no cluster has two uses.
func (i *image) Check() error {
	if err := disk.CheckWithin(formatName, i.File, "L1 table", int64(i.l1), i.tableBytes()); err != nil {
		return err
	}
	return claims.Check(i.uses, useNames.Once(formatName, 0))
}

// uses lists what the clusters are used for.
func (i *image) uses(l *claims.List) error {
	err := errors.Join(l.Claim(useHeader, 0, int64(i.headerSize)*i.Block), l.Claim(useL1, int64(i.l1), i.tableBytes()))
	if err != nil {
		return err
	}
	span := i.entries() * i.Block // of one L2 table
	for n := range (i.Size() + span - 1) / span {
		l2, err := i.entry(i.l1, n)
		if err == nil && l2 != 0 {
			err = i.usesOf(l, int64(l2), min(i.entries(), (i.Size()-n*span+i.Block-1)/i.Block))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// usesOf lists an L2 table and what its first n entries lead to.
func (i *image) usesOf(l *claims.List, l2, n int64) error {
	err := disk.CheckWithin(formatName, i.File, "L2 table", l2, i.tableBytes())
	if err == nil {
		err = l.Claim(useL2, l2, i.tableBytes())
	}
	if err != nil {
		return err
	}
	return i.table.Each(l2, n, 8, func(_ int64, p []byte) error {
		for ; len(p) > 0; p = p[8:] {
			entry := binary.LittleEndian.Uint64(p)
			if entry <= zeroCluster {
				continue
			}
			if err := l.Claim(useCluster, int64(entry), i.Block); err != nil {
				return err
			}
		}
		return nil
	})
}
