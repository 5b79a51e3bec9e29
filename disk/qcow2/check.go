package qcow2

import (
	"encoding/binary"
	"math"

	"instar/disk"
)

// Check is [disk.Checker]'s: of the tables, those of reference counts, snapshots
// and bitmaps included, of clusters that are compressed or encrypted, and of what all
// clusters of the file are used for.
func (i *image) Check() error {
	if !i.shelved {
		if err := i.checkShared(); err != nil {
			return err
		}
	}
	if err := i.checkPlace("L1 table", int64(i.l1Offset), int64(i.l1Entries)*8); err != nil {
		return err
	}
	if err := i.checkL2Tables(); err != nil {
		return err
	}
	for off := int64(0); off < i.virtual; {
		e, err := i.Extent(off, i.virtual-off)
		if err == nil && e.Kind == disk.Encoded {
			err = i.checkEncoded(e)
		}
		if err != nil {
			return err
		}
		off = e.End()
	}
	if i.shelved {
		return nil
	}
	return i.checkUses()
}

// checkShared checks the tables that the active state and snapshots share.
func (i *image) checkShared() error {
	if err := i.checkRefcounts(); err != nil {
		return err
	}
	n, err := i.snapshotsLength()
	if err != nil {
		return err
	}
	if err := i.checkPlace("snapshot table", int64(i.snapshotsOffset), n); err != nil {
		return err
	}
	if err := i.checkPlace("bitmap directory", int64(i.bitmaps.offset), int64(i.bitmaps.size)); err != nil {
		return err
	}
	return i.eachBitmap(func(p []byte) error {
		off, entries := binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:])
		return i.checkPlace("table of a bitmap", int64(off), int64(entries)*8)
	})
}

// snapshotsLength returns the length of the snapshot table.
func (i *image) snapshotsLength() (int64, error) {
	t := tableReader{image: i, off: int64(i.snapshotsOffset)}
	for n := range i.header.snapshots {
		if _, err := t.next(n); err != nil {
			return 0, err
		}
	}
	return t.off - int64(i.snapshotsOffset), nil
}

// checkPlace checks that a table of n bytes is where it can be.
func (i *image) checkPlace(name string, off, n int64) error {
	switch {
	case n == 0:
		return nil
	case off < i.clusterSize:
		return disk.Corruptf(formatName, "the %s is where the header is", name)
	}
	return disk.CheckWithin(formatName, i.file, name, off, n)
}

// checkRefcounts checks where the tables of reference counts are.
func (i *image) checkRefcounts() error {
	n := int64(i.reftableClusters) * i.clusterSize
	if err := i.checkPlace("refcount table", int64(i.reftableOffset), n); err != nil {
		return err
	}
	return i.tables.Each(int64(i.reftableOffset), n/8, 8, func(_ int64, blocks []byte) error {
		for ; len(blocks) > 0; blocks = blocks[8:] {
			off := binary.BigEndian.Uint64(blocks)
			switch {
			case off == 0:
				continue
			case off%uint64(i.clusterSize) != 0 || off > math.MaxInt64:
				return disk.Corruptf(formatName, "the refcount block at offset %#x is not where a cluster is", off)
			}
			if err := i.checkPlace("refcount block", int64(off), i.clusterSize); err != nil {
				return err
			}
		}
		return nil
	})
}

func (i *image) checkL2Tables() error {
	return i.tables.Each(int64(i.l1Offset), int64(i.l1Entries), 8, func(_ int64, l1 []byte) error {
		for ; len(l1) > 0; l1 = l1[8:] {
			off := int64(binary.BigEndian.Uint64(l1) & offsetMask)
			if off == 0 {
				continue
			}
			if err := disk.CheckWithin(formatName, i.file, "L2 table", off, i.clusterSize); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkEncoded checks where the clusters of a run are stored. Compressed ones
// are stored in whole sectors, of which the last one of the file may be cut short.
func (i *image) checkEncoded(e disk.Extent) error {
	c := cursor{image: i}
	for off := e.Start; off < e.End(); {
		r, err := c.runAt(off)
		if err != nil {
			return err
		}
		switch r.kind {
		case disk.Encoded:
			var s stream
			if s, err = c.stream(off >> i.clusterBits); err == nil {
				err = disk.CheckWithin(formatName, i.file, "compressed cluster", s.offset, max(1, s.length-disk.SectorSize+1))
			}
		case disk.Data: // encrypted; a cluster may end with the disk
			err = disk.CheckWithin(formatName, i.data, "cluster", r.host, min(r.length, i.virtual-off))
		}
		if err != nil {
			return err
		}
		off += r.length
	}
	return nil
}
