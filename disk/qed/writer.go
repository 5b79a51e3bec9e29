package qed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"instar/disk"
	"instar/disk/internal/lay"
)

const (
	newCluster = 64 << 10
	newTable   = 4
)

// A writer lays an image out as QEMU does for content that comes in order: the
// header, the L1 table, and then clusters. The first of those that an L2 table
// maps come before it, as many as are written at once, and the rest behind it.
// The header is written last.
type writer struct {
	header
	target   disk.Target
	name     string // of the backing file
	dense    bool
	zeroed   bool
	existing bool

	end   int64 // of what is in use, bytes
	l1    *lay.Table
	l2    *lay.Table
	index int64 // of l2; -1 is none

	last   int64 // cluster of the disk that is the last in use; -1 is none
	lastAt int64 // where it is
	next   int64 // bytes of it that are dealt with
}

// create begins an image.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
	}
	h, err := newHeader(size, o.Values)
	if err != nil {
		return nil, err
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	w := &writer{
		header: h, target: t, name: o.Values["backing_file"],
		dense: o.Dense, zeroed: o.Zeroed || !o.Existing, existing: o.Existing,
		index: -1, last: -1,
	}
	w.l1 = lay.NewTable(t, int64(h.l1), h.tableBytes(), 0, w.zeroed)
	w.end = int64(h.l1) + h.tableBytes()
	return w, nil
}

// newHeader returns the header of a new image, with qemu-img's checks.
func newHeader(size int64, values map[string]string) (h header, err error) {
	options, err := lay.Options(formatName, values)
	if err != nil {
		return h, err
	}
	cluster, table := options.NumberOr("cluster_size", newCluster), options.NumberOr("table_size", newTable)
	name := values["backing_file"]
	switch {
	case !clusterSizeValid(cluster):
		return h, fmt.Errorf("QED cluster size must be within range [%d, %d] and power of 2", minCluster, maxCluster) //nolint:staticcheck // qemu-img's text
	case !tableSizeValid(table):
		return h, fmt.Errorf("QED table size must be within range [1, %d] and power of 2", maxTable) //nolint:staticcheck // qemu-img's text
	}
	h = header{clusterSize: uint32(cluster), tableSize: uint32(table), headerSize: 1, l1: cluster, size: uint64(size)}
	switch {
	case !h.sizeValid():
		return h, fmt.Errorf("QED image size must be a non-zero multiple of cluster size and less than %d bytes", h.most()) //nolint:staticcheck // qemu-img's text
	case table == 1: // QEMU makes these, and does not open them
		return h, errors.New("QED table offset is invalid") //nolint:staticcheck // qemu-img's text
	case len(name) > maxBackingName:
		return h, errors.New("Backing file name too long") //nolint:staticcheck // qemu-img's text
	}
	if name != "" {
		h.features, h.nameOffset, h.nameLength = featureBacking, headerSize, uint32(len(name))
		if values["backing_fmt"] == "raw" {
			h.features |= featureRaw
		}
	}
	return h, nil
}

// Unit is a cluster where the rest of one would have to come from below.
func (w *writer) Unit() int64 {
	if w.name != "" {
		return int64(w.clusterSize)
	}
	return lay.Unit(int64(w.clusterSize))
}

// firstRun is how much QEMU's convert writes at once, in bytes: what comes
// before an L2 table. dd writes a block of 512 bytes, and takes a cluster.
const firstRun = 2 << 20

// Place gives clusters to content, as many in a row as one L2 table maps.
func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	size := int64(w.clusterSize)
	cluster, in := off/size, off%size
	if cluster == w.last {
		placed = min(n, size-in)
		if err := w.skip(in); err != nil {
			return 0, 0, err
		}
		w.next = in + placed
		return w.lastAt + in, placed, nil
	}
	index := cluster / w.entries()
	placed = min(n, (index+1)*w.entries()*size-off)
	if index != w.index {
		first := int64(firstRun)
		if w.dense {
			first = size - in
		}
		placed = min(placed, first)
	}
	if err := w.take(cluster, (in+placed+size-1)/size); err != nil {
		return 0, 0, err
	}
	at = w.lastAt - (w.last-cluster)*size + in
	if err := w.fill(at-in, in); err != nil {
		return 0, 0, err
	}
	w.next = (in+placed-1)%size + 1
	return at, placed, nil
}

// take gives n clusters of the disk a place, in a row.
func (w *writer) take(cluster, n int64) error {
	if err := w.skip(int64(w.clusterSize)); err != nil {
		return err
	}
	at := w.end
	w.end += n * int64(w.clusterSize)
	for k := range n {
		if err := w.setEntry(cluster+k, uint64(at+k*int64(w.clusterSize))); err != nil {
			return err
		}
	}
	w.last = cluster + n - 1
	w.lastAt = at + (n-1)*int64(w.clusterSize)
	return nil
}

// setEntry sets the entry of a cluster, and begins an L2 table for it if need be.
func (w *writer) setEntry(cluster int64, entry uint64) error {
	le := binary.LittleEndian
	if index := cluster / w.entries(); index != w.index {
		if err := w.flush(); err != nil {
			return err
		}
		w.index, w.l2 = index, lay.NewTable(w.target, w.end, w.tableBytes(), 0, w.zeroed)
		w.end += w.tableBytes()
		if err := w.l1.Set(8*index, le.AppendUint64(nil, uint64(w.l2.At()))); err != nil {
			return err
		}
	}
	return w.l2.Set(8*(cluster%w.entries()), le.AppendUint64(nil, entry))
}

// flush completes the current L2 table.
func (w *writer) flush() error {
	if w.index < 0 {
		return nil
	}
	return w.l2.Close()
}

// skip deals with the last cluster up to an offset that content comes at.
func (w *writer) skip(in int64) error {
	if w.last < 0 || in <= w.next {
		return nil
	}
	from := w.next
	w.next = in
	return w.fill(w.lastAt+from, in-from)
}

// fill has n bytes of the target, which nothing is stored in, read as zeros.
func (w *writer) fill(at, n int64) error {
	if w.zeroed {
		return nil
	}
	return lay.Zeros(w.target, at, n)
}

// Zero leaves clusters out, unless all of the space is to be allocated, and
// marks them as zeros where something below would show through.
func (w *writer) Zero(off, n int64) error {
	switch size := int64(w.clusterSize); {
	case w.name != "":
		for end := off + n; off < end; off += size {
			if err := w.setEntry(off/size, zeroCluster); err != nil {
				return err
			}
		}
	case w.dense:
		return errors.ErrUnsupported
	}
	return nil
}

// Finish writes the tables, and the header last.
func (w *writer) Finish() error {
	if err := w.skip(int64(w.clusterSize)); err != nil {
		return err
	}
	if !w.existing {
		if err := w.target.Truncate(w.end); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.l1.Close(); err != nil {
		return err
	}
	if err := w.fill(0, int64(w.clusterSize)); err != nil {
		return err
	}
	_, err := w.target.WriteAt(append(w.encode(), w.name...), 0)
	return err
}
