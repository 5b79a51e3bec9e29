package qcow2

import (
	"encoding/binary"
	"math/bits"

	"instar/disk"
)

// Fields of the table entries.
const (
	offsetMask      = 0x00ff_ffff_ffff_fe00 // host offset in L1 and standard L2 entries
	entryCopied     = 1 << 63
	entryCompressed = 1 << 62
	entryZero       = 1 << 0 // standard L2 entries of version 3
)

// A run is a piece of the virtual disk that is stored in one way.
type run struct {
	kind   disk.Kind // Encoded is compressed
	length int64
	host   int64 // offset in the data file, for Data
}

// continuesIn reports whether next, which begins where r ends, is more of it.
func (r run) continuesIn(next run) bool {
	return r.kind == next.kind && (r.kind != disk.Data || r.host+r.length == next.host)
}

// A cursor looks clusters up. It keeps the piece of the tables that it looked
// at last, so that going through a disk in order is cheap.
type cursor struct {
	*image
	first, end int64  // clusters that the piece speaks for
	table      []byte // L2 entries of [first, end); nil where there is no L2 table
	l2Offset   int64
}

// An l2Entry is an entry of an L2 table.
type l2Entry struct {
	value  uint64
	bitmap uint64 // of subclusters: zero bits, then allocation bits
}

func (e l2Entry) offset() int64 { return int64(e.value & offsetMask) }

func (e l2Entry) compressed() bool { return e.value&entryCompressed != 0 }

// runAt returns the run at off, up to the end of its cluster, or of all the
// clusters that have no L2 table.
func (c *cursor) runAt(off int64) (run, error) {
	cluster := off >> c.clusterBits
	if cluster < c.first || cluster >= c.end {
		if err := c.load(cluster); err != nil {
			return run{}, err
		}
	}
	if c.table == nil {
		return run{kind: disk.Unallocated, length: c.end<<c.clusterBits - off}, nil
	}
	e := c.entry(cluster)
	in := off & (c.clusterSize - 1)
	if e.compressed() {
		if c.hasDataFile() {
			return run{}, c.corrupt("Compressed cluster entry found in image with external data file (L2 offset: %#x, L2 index: %#x)", cluster)
		}
		return run{kind: disk.Encoded, length: c.clusterSize - in}, nil
	}
	if c.subclusters > 1 {
		return c.subclusterRun(e, cluster, in)
	}
	return c.clusterRun(e, cluster, in)
}

// clusterRun is runAt for a standard entry: in is the offset in the cluster.
func (c *cursor) clusterRun(e l2Entry, cluster, in int64) (run, error) {
	r := run{length: c.clusterSize - in}
	switch {
	case e.value&entryZero != 0:
		if c.version < 3 {
			return run{}, c.corrupt("Zero cluster entry found in pre-v3 image (L2 offset: %#x, L2 index: %#x)", cluster)
		}
		r.kind = disk.Zero
	case c.stored(e):
		r.kind, r.host = disk.Data, e.offset()+in
	}
	return r, c.checkPlace(e, cluster, in)
}

// subclusterRun is runAt for an extended entry.
func (c *cursor) subclusterRun(e l2Entry, cluster, in int64) (run, error) {
	alloc, zero := uint32(e.bitmap), uint32(e.bitmap>>32)
	if alloc&zero != 0 || (alloc != 0 && !c.stored(e)) {
		return run{}, c.corrupt("Invalid cluster entry found  (L2 offset: %#x, L2 index: %#x)", cluster)
	}
	shift := c.clusterBits - 5
	sub := in >> shift
	r := run{}
	same := ^(alloc | zero) // the subclusters of the kind of this one
	switch {
	case alloc>>sub&1 != 0:
		r.kind, r.host, same = disk.Data, e.offset()+in, alloc
	case zero>>sub&1 != 0:
		r.kind, same = disk.Zero, zero
	}
	n := bits.TrailingZeros32(^(same >> sub)) // shifted in are zeros, so that n ends with the cluster
	r.length = (sub+int64(n))<<shift - in
	return r, c.checkPlace(e, cluster, in)
}

// stored reports whether an entry has a place for its cluster. Offset 0 is one
// only in an external data file.
func (c *cursor) stored(e l2Entry) bool {
	return e.offset() != 0 || (c.hasDataFile() && e.value&entryCopied != 0)
}

// checkPlace checks where an entry has its cluster, if it has a place for it.
// in is the offset in the cluster that is asked for.
func (c *cursor) checkPlace(e l2Entry, cluster, in int64) error {
	if e.offset()&(c.clusterSize-1) != 0 {
		return disk.Corruptf(formatName, "Cluster allocation offset %#x unaligned (L2 offset: %#x, L2 index: %#x)",
			e.offset(), c.l2Offset, c.l2Index(cluster))
	}
	if guest := cluster << c.clusterBits; c.hasDataFile() && c.stored(e) && e.offset() != guest {
		return disk.Corruptf(formatName, "External data file host cluster offset %#x does not match guest cluster offset: %#x, L2 index: %#x)",
			e.offset()+in, guest+in, c.l2Index(cluster))
	}
	return nil
}

// corrupt returns the error for an entry that cannot be trusted.
func (c *cursor) corrupt(msg string, cluster int64) error {
	return disk.Corruptf(formatName, msg, c.l2Offset, c.l2Index(cluster))
}

func (c *cursor) l2Index(cluster int64) int64 { return cluster & (1<<c.l2Bits() - 1) }

// entrySize returns the size of an L2 entry in bytes.
func (h *header) entrySize() int64 {
	if h.subclusters > 1 {
		return 16
	}
	return 8
}

// entry returns the L2 entry of a cluster in [first, end).
func (c *cursor) entry(cluster int64) l2Entry {
	p := c.table[(cluster-c.first)*c.entrySize():]
	e := l2Entry{value: binary.BigEndian.Uint64(p)}
	if c.subclusters > 1 {
		e.bitmap = binary.BigEndian.Uint64(p[8:])
	}
	return e
}

// load looks up the tables for a cluster.
func (c *cursor) load(cluster int64) error {
	index := cluster >> c.l2Bits()
	c.table = nil
	c.first = index << c.l2Bits()
	if index >= int64(c.l1Entries) { // the L1 table of a snapshot may be short
		c.end = c.virtual>>c.clusterBits + 1
		return nil
	}
	l1, err := c.tables.View(int64(c.l1Offset)+index*8, (int64(c.l1Entries)-index)*8)
	if err != nil {
		return err
	}
	absent := int64(0)
	for ; len(l1) > 0 && binary.BigEndian.Uint64(l1)&offsetMask == 0; l1 = l1[8:] {
		absent++
	}
	if absent > 0 {
		c.end = (index + absent) << c.l2Bits()
		return nil
	}
	c.l2Offset = int64(binary.BigEndian.Uint64(l1) & offsetMask)
	if c.l2Offset&(c.clusterSize-1) != 0 {
		return disk.Corruptf(formatName, "L2 table offset %#x unaligned (L1 index: %#x)", c.l2Offset, index)
	}
	in := c.l2Index(cluster) * c.entrySize()
	c.table, err = c.tables.View(c.l2Offset+in, c.entrySize()<<c.l2Bits()-in)
	c.first = cluster
	c.end = cluster + int64(len(c.table))/c.entrySize()
	return err
}
