// Package qcow reads and writes the first version of QEMU's copy-on-write format.
//
// It has two levels of tables, as qcow2 has, and neither reference counts nor
// snapshots; the layout is QEMU's block/qcow.c, there is no specification.
// Clusters are stored, absent (what lies below shows through) or compressed
// (raw deflate). Stored ones can be encrypted (AES-128 in CBC mode, the key being
// the passphrase itself): without the passphrase such an image is described, and
// its content refused.
//
// An L1 table may have 268435455 entries and an L2 table 64 KiB, the name of a
// backing file 1023 bytes; these limits are QEMU's.
package qcow

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/claims"
	"instar/disk/internal/inflate"
	"instar/disk/internal/luks"
	"instar/disk/internal/metacache"
)

const (
	formatName     = "qcow"
	headerSize     = 48
	maxBackingName = 1023 // bytes
	maxL1Entries   = math.MaxInt32 / 8

	// Encryption methods.
	cryptNone = 0
	cryptAES  = 1
)

// Format is qcow, version 1.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

func probe(head []byte) int {
	if len(head) >= 8 && string(head[:4]) == "QFI\xfb" && binary.BigEndian.Uint32(head[4:]) == 1 {
		return 100
	}
	return 0
}

type image struct {
	blockmap.Map
	info        disk.Info
	l1Table     *metacache.Cache
	clusterBits uint
	l2Bits      uint
	l1Offset    int64
	volume      *luks.Volume // nil when clusters are not encrypted, or there is no passphrase
	l2Tables    [16]atomic.Pointer[l2Table]
	scratch     sync.Pool // *[]byte of two clusters
}

// An l2Table has the entries of one L2 table, as they are stored; nil is a table
// that does not exist.
type l2Table struct {
	index   int64
	entries []byte
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	var h [headerSize]byte
	if err := disk.ReadStored(f, h[:], 0); err != nil {
		return nil, err
	}
	i := &image{l1Table: metacache.New(f)}
	if err := i.readHeader(h[:]); err != nil {
		return nil, err
	}
	if err := i.readBackingFile(f, h[:]); err != nil {
		return nil, err
	}
	if err := i.unlock(o.Passphrase); err != nil {
		return nil, err
	}
	cluster := int64(1) << i.clusterBits
	i.info.ClusterSize = cluster
	i.scratch.New = func() any { b := make([]byte, 2*cluster); return &b }
	i.Map = blockmap.Map{Size: i.info.VirtualSize, Block: cluster, File: f, Lookup: i.lookup, Layer: i}
	return i, nil
}

func (i *image) readHeader(h []byte) error {
	be := binary.BigEndian
	size := be.Uint64(h[24:])
	switch version := be.Uint32(h[4:]); {
	case string(h[:4]) != "QFI\xfb":
		return disk.Corruptf(formatName, "Image not in qcow format")
	case version != 1:
		return disk.Unsupportedf(formatName, "qcow (v1) does not support qcow version %d", version)
	case size <= 1:
		return disk.Corruptf(formatName, "Image size is too small (must be at least 2 bytes)")
	case h[32] < 9 || h[32] > 16:
		return disk.Corruptf(formatName, "Cluster size must be between 512 and 64k")
	case h[33] < 9-3 || h[33] > 16-3:
		return disk.Corruptf(formatName, "L2 table size must be between 512 and 64k")
	}
	i.clusterBits, i.l2Bits = uint(h[32]), uint(h[33])
	span := uint64(1) << (i.clusterBits + i.l2Bits) // of one L2 table
	if size > math.MaxInt64-span || (size+span-1)/span > maxL1Entries {
		return disk.Corruptf(formatName, "Image too large")
	}
	switch crypt := be.Uint32(h[36:]); crypt {
	case cryptNone:
	case cryptAES:
		i.info.Encrypted, i.info.Lost = true, "it is encrypted"
	default:
		return disk.Corruptf(formatName, "invalid encryption method in qcow header")
	}
	l1 := be.Uint64(h[40:])
	if l1 > math.MaxInt64-8*maxL1Entries {
		return disk.Corruptf(formatName, "L1 table offset %#x is too large", l1)
	}
	i.l1Offset = int64(l1)
	i.info.Format = formatName
	i.info.VirtualSize = int64(size) &^ (disk.SectorSize - 1)
	return nil
}

// unlock has an encrypted image be decrypted.
func (i *image) unlock(passphrase []byte) (err error) {
	switch {
	case !i.info.Encrypted:
	case passphrase == nil:
		i.info.Refused = &disk.PassphraseError{Format: formatName, Msg: "Parameter 'encrypt.key-secret' is required for cipher"}
	default:
		i.volume, err = luks.NewAES(passphrase)
	}
	return err
}

func (i *image) readBackingFile(f disk.File, h []byte) error {
	off, n := binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint32(h[16:])
	if off == 0 {
		return nil
	}
	if n > maxBackingName {
		return disk.Corruptf(formatName, "Backing file name too long")
	}
	if off > math.MaxInt64-maxBackingName {
		return disk.Corruptf(formatName, "Invalid backing file offset")
	}
	name := make([]byte, n)
	if err := disk.ReadStored(f, name, int64(off)); err != nil {
		return err
	}
	if s, _, _ := strings.Cut(string(name), "\x00"); s != "" {
		i.info.References = []disk.Reference{{Kind: disk.BackingFile, Names: []string{s}}}
	}
	return nil
}

// entry returns the L2 entry of a cluster, and for how many clusters from
// there on it speaks: more than one where there is no L2 table.
func (i *image) entry(index int64) (entry uint64, clusters int64, err error) {
	perTable := int64(1) << i.l2Bits
	t, err := i.l2Table(index >> i.l2Bits)
	if err != nil {
		return 0, 0, err
	}
	in := index & (perTable - 1)
	if t.entries == nil {
		return 0, perTable - in, nil
	}
	return binary.BigEndian.Uint64(t.entries[in*8:]), 1, nil
}

// l2Table returns an L2 table by its index, from the ones that were used last
// if it can.
func (i *image) l2Table(index int64) (*l2Table, error) {
	slot := &i.l2Tables[index%int64(len(i.l2Tables))]
	if t := slot.Load(); t != nil && t.index == index {
		return t, nil
	}
	var p [8]byte
	if err := i.l1Table.ReadAt(p[:], i.l1Offset+index*8); err != nil { // it need not be aligned
		return nil, err
	}
	offset := binary.BigEndian.Uint64(p[:])
	t := &l2Table{index: index}
	if offset > math.MaxInt64-1<<20 {
		return nil, disk.Corruptf(formatName, "L2 table offset %#x is too large", offset)
	}
	if offset != 0 {
		t.entries = make([]byte, 8<<i.l2Bits)
		if err := disk.ReadStored(i.File, t.entries, int64(offset)); err != nil {
			return nil, err
		}
	}
	slot.Store(t)
	return t, nil
}

func (i *image) lookup(index int64) (blockmap.Entry, error) {
	if i.info.Refused != nil {
		return blockmap.Entry{}, i.info.Refused
	}
	entry, clusters, err := i.entry(index)
	switch {
	case err != nil:
		return blockmap.Entry{}, err
	case entry == 0:
		return blockmap.Entry{Kind: disk.Unallocated, Blocks: clusters}, nil
	case entry>>63 != 0:
		return blockmap.Entry{Kind: disk.Encoded}, nil
	case entry%disk.SectorSize != 0:
		return blockmap.Entry{}, disk.Corruptf(formatName, "cluster offset %#x is unaligned", entry)
	case entry > uint64(math.MaxInt64-i.Block):
		return blockmap.Entry{}, disk.Corruptf(formatName, "cluster offset %#x is beyond the end of any file", entry)
	case i.volume != nil:
		return blockmap.Entry{Kind: disk.Encoded}, nil
	}
	return blockmap.Entry{Kind: disk.Data, Offset: int64(entry)}, nil
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.Map.Size }

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.Size(), p, off, i.read)
}

func (i *image) read(p []byte, off int64) error {
	for len(p) > 0 {
		e, err := i.Extent(off, int64(len(p)))
		if err != nil {
			return err
		}
		if e.Kind == disk.Encoded {
			e.Length = min(e.Length, i.Block-off%i.Block)
			err = i.readEncoded(p[:e.Length], off)
		} else {
			err = e.Read(p[:e.Length])
		}
		if err != nil {
			return err
		}
		p, off = p[e.Length:], off+e.Length
	}
	return nil
}

// compressed returns where a compressed cluster is stored: its entry holds the
// length of the data in the upper bits, below bit 63, and the offset in the lower
// ones.
func (i *image) compressed(entry uint64) (off, n int64) {
	offsetBits := 63 - i.clusterBits
	return int64(entry & (1<<offsetBits - 1)), int64(entry >> offsetBits & uint64(i.Block-1))
}

// readEncoded fills p with content of the compressed or encrypted cluster that
// off is in, and which p does not leave.
func (i *image) readEncoded(p []byte, off int64) error {
	entry, _, err := i.entry(off >> i.clusterBits)
	switch {
	case err != nil:
		return err
	case entry>>63 == 0: // sectors are numbered as on the disk
		return i.volume.Read(i.File, p, int64(entry)+off%i.Block, off)
	}
	return i.readCompressed(p, off, entry)
}

// readCompressed is readEncoded for a compressed cluster, which is not encrypted.
func (i *image) readCompressed(p []byte, off int64, entry uint64) error {
	scratch := i.scratch.Get().(*[]byte)
	defer i.scratch.Put(scratch)
	cluster, stored := (*scratch)[:i.Block], (*scratch)[i.Block:]
	at, n := i.compressed(entry)
	stored = stored[:n]
	if err := disk.ReadStored(i.File, stored, at); err != nil {
		return err
	}
	if err := inflate.Raw(cluster, stored); err != nil {
		return disk.Corruptf(formatName, "compressed cluster at offset %#x: %v", off&^(i.Block-1), err)
	}
	copy(p, cluster[off%i.Block:])
	return nil
}

// What the parts of the file are used for.
const (
	useHeader claims.Kind = iota
	useL1
	useL2
	useCompressed
	useCluster
)

var useNames = claims.Names{"the header", "the L1 table", "an L2 table", "a compressed cluster", "a cluster"}

// Check is [disk.Checker]'s: of the tables, of clusters that are compressed or
// encrypted, and that nothing lies on anything else.
func (i *image) Check() error {
	if err := i.checkPlaces(); err != nil {
		return err
	}
	once := useNames.Once(formatName, useL2)
	return claims.Check(i.uses, func(p *claims.Part) error {
		q := *p
		q.Uses[useCompressed] = min(1, q.Uses[useCompressed]) // they end anywhere in a sector
		return once(&q)
	})
}

// uses lists what the parts of the file are used for.
func (i *image) uses(l *claims.List) error {
	span := i.Block << i.l2Bits // of one L2 table
	l1 := (i.Size() + span - 1) / span
	if err := errors.Join(l.Claim(useHeader, 0, headerSize), l.Claim(useL1, i.l1Offset, 8*l1)); err != nil {
		return err
	}
	return i.l1Table.Each(i.l1Offset, l1, 8, func(index int64, p []byte) error {
		for ; len(p) > 0; p = p[8:] {
			if off := int64(binary.BigEndian.Uint64(p)); off != 0 {
				if err := i.usesOf(l, off, min(1<<i.l2Bits, (i.Size()-index*span+i.Block-1)/i.Block)); err != nil {
					return err
				}
			}
			index++
		}
		return nil
	})
}

// usesOf lists an L2 table and what its first n entries lead to.
func (i *image) usesOf(l *claims.List, off, n int64) error {
	if err := l.Claim(useL2, off, 8<<i.l2Bits); err != nil {
		return err
	}
	return i.l1Table.Each(off, n, 8, func(_ int64, p []byte) error {
		for ; len(p) > 0; p = p[8:] {
			use, at, n := useCluster, int64(binary.BigEndian.Uint64(p)), i.Block
			switch {
			case at == 0:
				continue
			case at < 0:
				use = useCompressed
				at, n = i.compressed(uint64(at))
			}
			if err := l.Claim(use, at, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkPlaces checks where the tables are, and clusters that are not stored as they
// are.
func (i *image) checkPlaces() error {
	span := i.Block << i.l2Bits // of one L2 table
	l1 := (i.Size() + span - 1) / span
	if err := disk.CheckWithin(formatName, i.File, "L1 table", i.l1Offset, 8*l1); err != nil {
		return err
	}
	for n := range l1 {
		var p [8]byte
		if err := i.l1Table.ReadAt(p[:], i.l1Offset+8*n); err != nil {
			return err
		}
		off := binary.BigEndian.Uint64(p[:])
		if off == 0 {
			continue
		}
		if err := disk.CheckWithin(formatName, i.File, "L2 table", int64(min(off, math.MaxInt64)), 8<<i.l2Bits); err != nil {
			return err
		}
		if err := i.checkEncoded(n << i.l2Bits); err != nil {
			return err
		}
	}
	return nil
}

// checkEncoded checks where the compressed and encrypted clusters are that one L2
// table has, which begins with the entry of a cluster.
func (i *image) checkEncoded(first int64) error {
	for index := first; index < first+1<<i.l2Bits && index<<i.clusterBits < i.Size(); index++ {
		entry, _, err := i.entry(index)
		if err != nil {
			return err
		}
		name, off, n := "cluster", int64(entry), min(i.Block, i.Size()-index<<i.clusterBits) // one may end with the disk
		switch {
		case entry>>63 != 0:
			name = "compressed cluster"
			off, n = i.compressed(entry)
		case i.volume == nil || entry == 0: // what is stored as it is is known to be there
			continue
		}
		if err := disk.CheckWithin(formatName, i.File, name, off, n); err != nil {
			return err
		}
	}
	return nil
}
