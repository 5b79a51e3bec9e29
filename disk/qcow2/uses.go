package qcow2

import (
	"encoding/binary"
	"fmt"
	"math"

	"instar/disk"
	"instar/disk/internal/claims"
)

// What clusters are used for. Of those up to useBitmap each is used once; the others
// may be shared by the active state and snapshots.
const (
	useHeader claims.Kind = iota
	useCrypt
	useReftable
	useRefcountBlock
	useL1
	useSnapshots
	useSnapshotL1
	useBitmapDirectory
	useBitmapTable
	useBitmap
	useL2 // of the active state
	useL2Copied
	useSnapshotL2
	useCompressed
	useData // of the active state
	useDataCopied
	useSnapshotData
)

var useNames = claims.Names{
	"the header", "the LUKS header", "the refcount table", "a refcount block", "the L1 table",
	"the snapshot table", "the L1 table of a snapshot", "the bitmap directory", "the table of a bitmap",
	"a bitmap", "an L2 table", "an L2 table", "an L2 table", "a compressed cluster", "a data cluster", "a data cluster", "a data cluster",
}

// maxUses bounds how many entries of tables and reference counts are looked at for
// clusters that are used too often: those of 8 TiB in clusters of 64 KiB. Of an image
// that has more, the rest is not.
const maxUses = 1 << 28

// suspicious is how many uses of a cluster are compared with its reference count
// before all are known, as their listing may take long.
const suspicious = 1 << 10

// reservedBits are the bits of entries that are zero, whatever they are for.
const (
	reservedL1 = 0x7f00_0000_0000_01ff
	reservedL2 = 0x3f00_0000_0000_01fe // of clusters that are not compressed
)

// uses lists what each cluster of the file is used for, and compares that with the
// reference counts, as the specification has it ("Refcounts", "Cluster mapping").
type uses struct {
	*image
	snapshotTable int64 // its length
	counts        bool  // the reference counts can be trusted
	left          int64 // of maxUses
	length        int64 // of the file

	list *claims.List
	data bool // and not only tables

	// The refcount block looked at last.
	block, blockAt int64
}

// checkUses checks that no cluster is used more than once where it must not be, nor
// more often than its reference count says. A count that is too great is none the
// worse. The counts of an image that was not closed may be too small: QEMU counts
// anew before it writes to it.
func (i *image) checkUses() error {
	length, err := i.file.Size()
	if err != nil {
		return fmt.Errorf("get the size of the file: %w", err)
	}
	snapshotTable, err := i.snapshotsLength()
	if err != nil {
		return err
	}
	u := &uses{image: i, snapshotTable: snapshotTable, counts: i.incompatible&featureDirty == 0, left: maxUses, length: length, block: -1}
	for _, u.data = range []bool{false, true} { // tables that are used twice are not read for each use
		if err := claims.Check(u.all, u.judge); err != nil {
			return err
		}
	}
	return nil
}

// all lists all uses, or those by tables.
func (u *uses) all(l *claims.List) error {
	u.list = l
	for _, c := range []struct {
		use    claims.Kind
		off, n int64
	}{
		{useHeader, 0, u.clusterSize},
		{useCrypt, int64(u.cryptOffset), int64(min(u.cryptLength, math.MaxInt64))},
		{useReftable, int64(u.reftableOffset), int64(u.reftableClusters) * u.clusterSize},
		{useSnapshots, int64(u.snapshotsOffset), u.snapshotTable},
		{useBitmapDirectory, int64(u.bitmaps.offset), int64(u.bitmaps.size)},
	} {
		if err := u.claim(c.use, c.off, c.n); err != nil {
			return err
		}
	}
	if err := u.refcountBlocks(); err != nil {
		return err
	}
	err := u.eachBitmap(func(p []byte) error {
		return u.bitmap(int64(binary.BigEndian.Uint64(p)), int64(binary.BigEndian.Uint32(p[8:])))
	})
	if err != nil {
		return err
	}
	if err := u.tree(u.active, true); err != nil {
		return err
	}
	for _, s := range u.states {
		if err := u.tree(s, false); err != nil {
			return err
		}
	}
	return nil
}

// claim claims the clusters that n bytes at off are in.
func (u *uses) claim(use claims.Kind, off, n int64) error {
	if n <= 0 {
		return nil
	}
	in := off & (u.clusterSize - 1)
	return u.list.Claim(use, off-in, (in+min(n, math.MaxInt64/2)+u.clusterSize-1)&^(u.clusterSize-1))
}

// entries calls f for the entries of a table that are not zero. An entry has size
// bytes, of which the first eight decide.
func (u *uses) entries(off, n, size int64, f func(p []byte) error) error {
	return u.tables.Each(off, n, size, func(_ int64, p []byte) error {
		if u.left -= int64(len(p)) / size; u.left < 0 {
			return claims.ErrEnough
		}
		for ; len(p) > 0; p = p[size:] {
			if binary.BigEndian.Uint64(p) == 0 && (size == 8 || binary.BigEndian.Uint64(p[8:]) == 0) {
				continue
			}
			if err := f(p[:size]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (u *uses) refcountBlocks() error {
	return u.entries(int64(u.reftableOffset), int64(u.reftableClusters)*u.clusterSize/8, 8, func(p []byte) error {
		return u.claim(useRefcountBlock, int64(binary.BigEndian.Uint64(p)), u.clusterSize)
	})
}

// bitmap lists the uses of a bitmap, whose table has n entries.
func (u *uses) bitmap(table, n int64) error {
	if err := u.claim(useBitmapTable, table, 8*n); err != nil || !u.data {
		return err
	}
	return u.entries(table, n, 8, func(p []byte) error {
		offset, err := u.bitmapCluster(binary.BigEndian.Uint64(p))
		if err != nil || offset == 0 {
			return err
		}
		return u.claim(useBitmap, offset, u.clusterSize)
	})
}

// tree lists the uses of the active state, or of a snapshot.
func (u *uses) tree(s state, active bool) error {
	if err := u.checkTable("Snapshot L1 table", s.l1Offset, uint64(s.l1Entries), maxL1Size/8); err != nil {
		return err
	}
	use := useSnapshotL1
	if active {
		use = useL1
	}
	if err := u.checkPlace("L1 table", int64(s.l1Offset), int64(s.l1Entries)*8); err != nil {
		return err
	}
	if err := u.claim(use, int64(s.l1Offset), int64(s.l1Entries)*8); err != nil {
		return err
	}
	return u.entries(int64(s.l1Offset), int64(s.l1Entries), 8, func(p []byte) error {
		entry := binary.BigEndian.Uint64(p)
		offset := int64(entry & offsetMask)
		switch {
		case entry&reservedL1 != 0:
			return disk.Corruptf(formatName, "the L1 entry %#x has reserved bits", entry)
		case offset&(u.clusterSize-1) != 0:
			return disk.Corruptf(formatName, "the L2 table at offset %#x is not where a cluster is", offset)
		}
		if err := u.claim(pick(active, entry, useL2, useL2Copied, useSnapshotL2), offset, u.clusterSize); err != nil || !u.data {
			return err
		}
		return u.entries(offset, u.clusterSize/u.entrySize(), u.entrySize(), func(p []byte) error { return u.cluster(p, active) })
	})
}

// pick returns the use by an entry of the active state or of a snapshot.
func pick(active bool, entry uint64, plain, copied, snapshot claims.Kind) claims.Kind {
	switch {
	case !active:
		return snapshot
	case entry&entryCopied != 0:
		return copied
	}
	return plain
}

// cluster lists the uses by an entry of an L2 table.
func (u *uses) cluster(p []byte, active bool) error {
	e := l2Entry{value: binary.BigEndian.Uint64(p)}
	if u.subclusters > 1 {
		e.bitmap = binary.BigEndian.Uint64(p[8:])
	}
	offset := e.offset()
	switch {
	case e.compressed() && (e.value&entryCopied != 0 || e.bitmap != 0):
		return disk.Corruptf(formatName, "the L2 entry %#x of a compressed cluster has bits that such a one has not", e.value)
	case e.compressed():
		s := u.streamOf(e.value)
		return u.claim(useCompressed, s.offset, s.length)
	case e.value&reservedL2 != 0:
		return disk.Corruptf(formatName, "the L2 entry %#x has reserved bits", e.value)
	case offset&(u.clusterSize-1) != 0:
		return disk.Corruptf(formatName, "the data cluster at offset %#x is not where a cluster is", offset)
	case uint32(e.bitmap)&uint32(e.bitmap>>32) != 0, uint32(e.bitmap) != 0 && offset == 0 && !u.hasDataFile():
		return disk.Corruptf(formatName, "the bitmap %#x of an L2 entry is invalid", e.bitmap)
	case offset == 0 || u.hasDataFile():
		return nil
	}
	return u.claim(pick(active, e.value, useData, useDataCopied, useSnapshotData), offset, u.clusterSize)
}

// judge judges clusters that have the same uses.
func (u *uses) judge(p *claims.Part) error {
	var total int64
	first, last := claims.Kind(claims.Kinds), claims.Kind(0)
	for k := range claims.Kind(len(useNames)) {
		if p.Uses[k] > 0 {
			total += p.Uses[k]
			first, last = min(first, k), k
		}
	}
	switch {
	case p.End > u.length && p.End-u.length >= u.clusterSize:
		return disk.Corruptf(formatName, "%s at offset %#x lies behind the end of the file", useNames[last], max(p.Start, u.length))
	case first <= useBitmap && total > 1,
		first <= useSnapshotL2 && last >= useCompressed,
		first == useCompressed && last > useCompressed:
		return useNames.Overlap(formatName, p, first, last)
	case !u.counts, p.Partial && total < suspicious:
		return nil
	}
	for at := p.Start; at < p.End; at += u.clusterSize {
		if u.left--; u.left < 0 {
			return nil
		}
		count, err := u.refcount(at >> u.clusterBits)
		if err != nil {
			return err
		}
		copied, plain := p.Uses[useL2Copied]+p.Uses[useDataCopied] > 0, p.Uses[useL2]+p.Uses[useData] > 0
		switch {
		case count < uint64(total) && total == 1:
			return disk.Corruptf(formatName, "%s at offset %#x has the reference count 0", useNames[last], at)
		case count < uint64(total):
			return disk.Corruptf(formatName, "%s at offset %#x is used %d times, and has the reference count %d", useNames[last], at, total, count)
		case count == 1 && plain:
			return disk.Corruptf(formatName, "%s at offset %#x has the reference count 1, and its entry says that it is shared", useNames[last], at)
		case count != 1 && copied:
			return disk.Corruptf(formatName, "%s at offset %#x has the reference count %d, and its entry says that it is not shared", useNames[last], at, count)
		}
	}
	return nil
}

// refcount returns the reference count of a cluster.
func (u *uses) refcount(cluster int64) (uint64, error) {
	perBlock := u.clusterSize << 3 >> u.refcountOrder
	if n := cluster / perBlock; n != u.block {
		if n >= int64(u.reftableClusters)*u.clusterSize/8 {
			return 0, nil
		}
		at, err := u.tables.Uint64BE(int64(u.reftableOffset) + 8*n)
		if err != nil {
			return 0, err
		}
		u.block, u.blockAt = n, int64(at)
	}
	if u.blockAt == 0 {
		return 0, nil
	}
	bit := cluster % perBlock << u.refcountOrder
	width := int64(1) << u.refcountOrder
	p, err := u.tables.View(u.blockAt+bit/8, max(1, width/8))
	if err != nil {
		return 0, err
	}
	switch width {
	case 8:
		return uint64(p[0]), nil
	case 16:
		return uint64(binary.BigEndian.Uint16(p)), nil
	case 32:
		return uint64(binary.BigEndian.Uint32(p)), nil
	case 64:
		return binary.BigEndian.Uint64(p), nil
	}
	return uint64(p[0]>>(bit%8)) & (1<<width - 1), nil
}
