package qcow2

import (
	"encoding/binary"
	"errors"

	"instar/disk"
)

// A writer lays an image out as qemu-img does for content that comes in order:
// header, refcount table, refcount block and L1 table, and from there on each
// L2 table before its clusters. Every cluster up to the end is in use. A
// refcount block that is missing for some clusters comes behind them.
//
// An L2 table is written when the next one begins, the header at the very end.
type writer struct {
	*createOptions
	target      disk.Target
	size        int64
	dense       bool
	clusterSize int64
	entrySize   int64 // of an L2 entry

	end    int64 // first cluster that is not in use
	length int64 // of the file, as far as content goes
	l1     []uint64
	l1At   int64 // cluster
	table  []byte
	index  int64 // of the L2 table in table; -1 is none
	tail   int64 // offset behind the last compressed cluster; 0 is none

	blocks           []int64 // refcount blocks, by index: cluster
	counts           []byte  // content of the last of them
	counted          int64   // clusters before it have been counted
	first            []byte  // content of the first, if it is not the last
	reftableAt       int64
	reftableClusters int64
}

// create begins an image. Nothing that is written before Finish makes a header.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	options, err := parseCreateOptions(o.Values)
	if err != nil {
		return nil, err
	}
	w := &writer{
		createOptions: options,
		target:        t,
		size:          size,
		dense:         o.Dense || options.preallocation != "off",
		clusterSize:   1 << options.clusterBits,
		entrySize:     8,
		index:         -1,
	}
	if w.extendedL2 {
		w.entrySize = 16
	}
	span := w.clusterSize / w.entrySize * w.clusterSize // of one L2 table
	tables := (size + span - 1) / span
	if size > 1<<62 || tables > maxL1Size/8 {
		return nil, errors.New("Image size too large for file format (try using a larger cluster size)") //nolint:staticcheck // qemu-img's text
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	w.reftableAt, w.reftableClusters = 1, 1
	if _, err := w.alloc(2); err != nil { // the first refcount block comes behind
		return nil, err
	}
	if tables > 0 {
		w.l1 = make([]uint64, tables)
		if w.l1At, err = w.alloc((tables*8 + w.clusterSize - 1) / w.clusterSize); err != nil {
			return nil, err
		}
		w.length = w.l1At*w.clusterSize + tables*8 // as it is if nothing comes behind
	}
	if o.Compress {
		return newCompressor(w)
	}
	return w, nil
}

func (w *writer) Unit() int64 { return w.clusterSize }

// refsPerBlock returns how many clusters a refcount block speaks for.
func (w *writer) refsPerBlock() int64 { return w.clusterSize << 3 >> w.refcountOrder }

// alloc takes n clusters into use, and the refcount blocks that they need.
func (w *writer) alloc(n int64) (int64, error) {
	at := w.end
	w.end += n
	w.tail = 0
	for (w.end-1)/w.refsPerBlock() >= int64(len(w.blocks)) {
		if err := w.nextBlock(); err != nil {
			return 0, err
		}
		w.blocks = append(w.blocks, w.end)
		w.end++
	}
	w.count(w.end)
	return at, nil
}

// nextBlock completes the last refcount block and begins another.
func (w *writer) nextBlock() error {
	n := int64(len(w.blocks))
	if n > 0 {
		w.count(n * w.refsPerBlock())
		if n == 1 {
			w.first = w.counts // written last: a cluster of it may yet be given up
		} else if _, err := w.target.WriteAt(w.counts, w.blocks[n-1]*w.clusterSize); err != nil {
			return err
		}
	}
	w.counts = make([]byte, w.clusterSize)
	return nil
}

// count sets the refcounts of clusters that are in use, up to end, to 1.
func (w *writer) count(end int64) {
	base := int64(len(w.blocks)-1) * w.refsPerBlock()
	end = min(end, base+w.refsPerBlock())
	for ; w.counted < end; w.counted++ {
		setRefcount(w.counts, w.refcountOrder, w.counted-base, 1)
	}
}

// setRefcount sets an entry of a refcount block.
func setRefcount(block []byte, order uint32, index int64, n uint64) {
	switch {
	case order < 3:
		width := int64(1) << order
		shift := index * width % 8
		mask := byte(1<<width-1) << shift
		block[index*width/8] = block[index*width/8]&^mask | byte(n)<<shift
	default:
		bytes := int64(1) << (order - 3)
		for k := range bytes {
			block[index*bytes+k] = byte(n >> (8 * (bytes - 1 - k)))
		}
	}
}

// Place gives clusters to content, as many in a row as one L2 table maps.
func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	span := w.clusterSize / w.entrySize * w.clusterSize
	placed = min(n, span-off%span)
	if err := w.load(off / span); err != nil {
		return 0, 0, err
	}
	clusters := (placed + w.clusterSize - 1) / w.clusterSize
	first, err := w.alloc(clusters)
	if err != nil {
		return 0, 0, err
	}
	for k := range clusters {
		w.setEntry(off/w.clusterSize+k, entryCopied|uint64((first+k)*w.clusterSize))
	}
	w.length = w.end * w.clusterSize
	if short := placed % w.clusterSize; w.extendedL2 && short > 0 {
		w.limitSubclusters(off/w.clusterSize+clusters-1, short)
	}
	return first * w.clusterSize, placed, nil
}

// limitSubclusters leaves only those subclusters of the last cluster allocated
// that the disk has something in.
func (w *writer) limitSubclusters(cluster, n int64) {
	sub := w.clusterSize / 32
	used := (n + sub - 1) / sub
	p := w.table[cluster%(w.clusterSize/w.entrySize)*w.entrySize:]
	binary.BigEndian.PutUint64(p[8:], 1<<used-1)
	if at := int64(binary.BigEndian.Uint64(p) & offsetMask); at/w.clusterSize == w.end-1 {
		w.length = at + used*sub
	}
}

// load makes the L2 table of that index the current one.
func (w *writer) load(index int64) error {
	if index == w.index {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	at, err := w.alloc(1)
	if err != nil {
		return err
	}
	w.index = index
	w.table = make([]byte, w.clusterSize)
	w.l1[index] = entryCopied | uint64(at*w.clusterSize)
	return nil
}

// flush writes the current L2 table.
func (w *writer) flush() error {
	if w.index < 0 {
		return nil
	}
	_, err := w.target.WriteAt(w.table, int64(w.l1[w.index]&offsetMask))
	return err
}

// setEntry sets the L2 entry of a cluster. With subclusters all of them are
// allocated, but for a compressed cluster, which has none.
func (w *writer) setEntry(cluster int64, entry uint64) {
	p := w.table[cluster%(w.clusterSize/w.entrySize)*w.entrySize:]
	binary.BigEndian.PutUint64(p, entry)
	if w.extendedL2 && entry&entryCompressed == 0 {
		binary.BigEndian.PutUint64(p[8:], 1<<32-1)
	}
}

// Zero leaves clusters out, unless all of the space is to be allocated or
// something below would show through.
func (w *writer) Zero(off, n int64) error {
	switch {
	case w.backingFile != "":
		return w.zeroClusters(off, n)
	case w.dense:
		return errors.ErrUnsupported
	}
	return nil
}

// zeroClusters marks clusters as reading as zeros, which version 2 can not.
func (w *writer) zeroClusters(off, n int64) error {
	if w.version < 3 {
		return errors.ErrUnsupported
	}
	for end := off + n; off < end; off += w.clusterSize {
		if err := w.load(off / (w.clusterSize / w.entrySize * w.clusterSize)); err != nil {
			return err
		}
		p := w.table[off/w.clusterSize%(w.clusterSize/w.entrySize)*w.entrySize:]
		if w.extendedL2 {
			binary.BigEndian.PutUint64(p[8:], (1<<32-1)<<32)
		} else {
			binary.BigEndian.PutUint64(p, entryZero)
		}
	}
	return nil
}

// Finish writes the tables, and the header last.
func (w *writer) Finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.growReftable(); err != nil {
		return err
	}
	if err := w.writeRefcounts(); err != nil {
		return err
	}
	if err := w.writeNumbers(w.l1, w.l1At); err != nil {
		return err
	}
	if w.end*w.clusterSize-w.length >= w.clusterSize { // something came behind the content
		w.length = w.end * w.clusterSize
	}
	if err := w.target.Truncate(w.length); err != nil {
		return err
	}
	header, err := w.encodeHeader()
	if err != nil {
		return err
	}
	_, err = w.target.WriteAt(header, 0)
	return err
}

// growReftable moves the refcount table to the end if it has more blocks than
// its first cluster has room for.
func (w *writer) growReftable() error {
	perCluster := w.clusterSize / 8
	for int64(len(w.blocks)) > w.reftableClusters*perCluster {
		n := (int64(len(w.blocks))+perCluster-1)/perCluster + 1 // it may need another block itself
		at, err := w.alloc(n)
		if err != nil {
			return err
		}
		if w.reftableClusters > 1 {
			return errors.New("refcount table grew out of its bounds")
		}
		w.reftableAt, w.reftableClusters = at, n
		setRefcount(w.first, w.refcountOrder, 1, 0) // where it was
	}
	return nil
}

func (w *writer) writeRefcounts() error {
	last := len(w.blocks) - 1
	if _, err := w.target.WriteAt(w.counts, w.blocks[last]*w.clusterSize); err != nil {
		return err
	}
	if last > 0 {
		if _, err := w.target.WriteAt(w.first, w.blocks[0]*w.clusterSize); err != nil {
			return err
		}
	}
	offsets := make([]uint64, len(w.blocks))
	for i, b := range w.blocks {
		offsets[i] = uint64(b * w.clusterSize)
	}
	return w.writeNumbers(offsets, w.reftableAt)
}

// writeNumbers writes a table at a cluster.
func (w *writer) writeNumbers(table []uint64, at int64) error {
	p := make([]byte, 0, len(table)*8)
	for _, v := range table {
		p = binary.BigEndian.AppendUint64(p, v)
	}
	if len(p) == 0 {
		return nil
	}
	_, err := w.target.WriteAt(p, at*w.clusterSize)
	return err
}
