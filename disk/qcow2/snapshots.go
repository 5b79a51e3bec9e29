package qcow2

import (
	"encoding/binary"

	"instar/disk"
)

// Limits on the snapshot table; QEMU has the same (block/qcow2.h).
const (
	maxSnapshotTable = 64 << 20 // bytes
	maxSnapshotExtra = 1024     // bytes of one entry
	// QEMU knows no more of an ID and a name (include/block/snapshot.h).
	maxSnapshotID   = 127
	maxSnapshotName = 255
)

// A snapshot is an entry of the snapshot table.
type snapshot struct {
	disk.Snapshot
	state
}

// A state is where the L1 table of a snapshot is.
type state struct {
	l1Offset  uint64
	l1Entries uint32
}

// readSnapshots reads the snapshot table.
func (i *image) readSnapshots() ([]snapshot, error) {
	var list []snapshot
	t := tableReader{image: i, off: int64(i.snapshotsOffset)}
	for n := range i.header.snapshots {
		s, err := t.next(n)
		if err != nil {
			return nil, err
		}
		if t.off-int64(i.snapshotsOffset) > maxSnapshotTable {
			return nil, disk.Corruptf(formatName, "Snapshot table is too big")
		}
		list = append(list, s)
	}
	return list, nil
}

// A tableReader reads the snapshot table from off on.
type tableReader struct {
	*image
	off int64
}

func (t *tableReader) next(index uint32) (snapshot, error) {
	t.off = (t.off + 7) &^ 7
	var fixed [40]byte
	if err := t.read(fixed[:]); err != nil {
		return snapshot{}, err
	}
	be := binary.BigEndian
	idSize, nameSize, extraSize := be.Uint16(fixed[12:]), be.Uint16(fixed[14:]), be.Uint32(fixed[36:])
	clock := be.Uint64(fixed[24:])
	s := snapshot{state: state{l1Offset: be.Uint64(fixed[0:]), l1Entries: be.Uint32(fixed[8:])}}
	s.Seconds, s.Nanoseconds = int64(be.Uint32(fixed[16:])), int64(be.Uint32(fixed[20:]))
	s.ClockNanos = int64(clock)
	s.VMStateSize, s.DiskSize = int64(be.Uint32(fixed[32:])), t.virtual
	if extraSize > maxSnapshotExtra {
		return s, disk.Corruptf(formatName, "Too much extra metadata in snapshot table entry %d", index)
	}
	var extra [maxSnapshotExtra]byte
	if err := t.read(extra[:extraSize]); err != nil {
		return s, err
	}
	if extraSize >= 8 {
		s.VMStateSize = int64(be.Uint64(extra[0:]))
	}
	if extraSize >= 16 {
		s.DiskSize = int64(be.Uint64(extra[8:]))
	}
	if extraSize >= 24 {
		icount := int64(be.Uint64(extra[16:]))
		s.ICount = &icount
	}
	var err error
	if s.ID, err = t.text(idSize, maxSnapshotID); err == nil {
		s.Name, err = t.text(nameSize, maxSnapshotName)
	}
	return s, err
}

// read fills p and moves on.
func (t *tableReader) read(p []byte) error {
	err := t.tables.ReadAt(p, t.off)
	t.off += int64(len(p))
	return err
}

// text reads a string of n bytes, and no more than most of them.
func (t *tableReader) text(n uint16, most int) (string, error) {
	p := make([]byte, min(int(n), most))
	err := t.tables.ReadAt(p, t.off)
	t.off += int64(n)
	return untilNUL(p), err
}

// selectSnapshot makes the image show the snapshot of that ID or, if none has
// it, name. Its size stays that of the active state, as in QEMU.
func (i *image) selectSnapshot(key string, list []snapshot) error {
	s := findSnapshot(list, key)
	if s == nil {
		return disk.Corruptf(formatName, "Failed to load snapshot: Can't find snapshot")
	}
	return i.show(s.state)
}

// show makes the image show the state of a snapshot.
func (i *image) show(s state) error {
	if err := i.checkTable("Snapshot L1 table", s.l1Offset, uint64(s.l1Entries), maxL1Size/8); err != nil {
		return disk.Corruptf(formatName, "Failed to load snapshot: %v", err)
	}
	i.l1Offset, i.l1Entries = s.l1Offset, s.l1Entries
	return nil
}

// Snapshot is [disk.Snapshotted]'s.
func (i *image) Snapshot(index int) (disk.Image, error) {
	s, h := *i, *i.header
	s.header, s.shelved = &h, true
	if err := s.show(i.states[index]); err != nil {
		return nil, err
	}
	return &s, nil
}

func findSnapshot(list []snapshot, key string) *snapshot {
	for k := range list {
		if list[k].ID == key {
			return &list[k]
		}
	}
	for k := range list {
		if list[k].Name == key {
			return &list[k]
		}
	}
	return nil
}
