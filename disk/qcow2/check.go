package qcow2

import (
	"encoding/binary"

	"instar/disk"
)

// Check is [disk.Checker]'s: of the tables, those of reference counts and of
// snapshots included, and of clusters that are compressed or encrypted.
func (i *image) Check() error {
	snapshots := tableReader{image: i, off: int64(i.snapshotsOffset)}
	for n := range i.header.snapshots {
		if _, err := snapshots.next(n); err != nil {
			return err
		}
	}
	for _, t := range []struct {
		name   string
		off, n int64
	}{
		{"refcount table", int64(i.reftableOffset), int64(i.reftableClusters) * i.clusterSize},
		{"L1 table", int64(i.l1Offset), int64(i.l1Entries) * 8},
		{"snapshot table", int64(i.snapshotsOffset), snapshots.off - int64(i.snapshotsOffset)},
		{"bitmap directory", int64(i.bitmaps.offset), int64(i.bitmaps.size)},
	} {
		if t.n == 0 {
			continue
		}
		if t.off < i.clusterSize {
			return disk.Corruptf(formatName, "the %s is where the header is", t.name)
		}
		if err := disk.CheckWithin(formatName, i.file, t.name, t.off, t.n); err != nil {
			return err
		}
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
	return nil
}

func (i *image) checkL2Tables() error {
	for n := int64(i.l1Entries); n > 0; {
		l1, err := i.tables.View(int64(i.l1Offset)+(int64(i.l1Entries)-n)*8, n*8)
		if err != nil {
			return err
		}
		n -= int64(len(l1)) / 8
		for ; len(l1) > 0; l1 = l1[8:] {
			off := int64(binary.BigEndian.Uint64(l1) & offsetMask)
			if off == 0 {
				continue
			}
			if err := disk.CheckWithin(formatName, i.file, "L2 table", off, i.clusterSize); err != nil {
				return err
			}
		}
	}
	return nil
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
