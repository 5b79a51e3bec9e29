package qcow2

import (
	"encoding/binary"
	"errors"
	"math"

	"instar/disk"
)

// A writer lays an image out as qemu-img does for content that comes in order:
// header, refcount table, refcount block and L1 table, and from there on each
// L2 table before its clusters; see [space] for refcount blocks.
//
// An L2 table is written when the next one begins, refcounts and the L1 table at
// the end, and the header last.
type writer struct {
	*createOptions
	*space
	target          disk.Target
	data            disk.Target // of clusters: target, or the external data file
	size            int64
	dataLength      int64 // of the external data file, if content goes beyond the size
	dense           bool
	best            bool // compression
	existing        bool // the target is a device
	zeroed          bool // it reads as zeros where nothing is written
	blank           bool // no content comes
	unit            int64
	entrySize       int64 // of an L2 entry
	span            int64 // bytes of the disk that an L2 table maps
	bitmaps         []disk.Bitmap
	bitmapDirectory bitmapsExtension // when they have been written

	length int64 // of the file, as far as something is stored
	l1     []uint64
	l1At   int64 // cluster
	table  []byte
	index  int64            // of the L2 table in table; -1 is none
	tail   int64            // offset behind the last compressed cluster; 0 is none
	shares map[int64][]byte // refcounts of what holds compressed clusters, by refcount block
	stored map[int64]bool   // refcount blocks that have been written
	full   []byte           // a refcount block of ones

	cryptMethod          uint32
	cryptAt, cryptLength int64 // LUKS header, bytes

	// The run that a place is asked for, and where its rest begins.
	runStart, runEnd, runNext int64

	last    piece // what was laid out last
	pending piece // laid out, and not asked for yet
	ahead   *preallocation
}

// A piece is n bytes of the disk at off, which are stored at offset at.
type piece struct{ off, at, n int64 }

// requestSize is the length in bytes of what qemu-img convert writes at once. It
// shows in where clusters go when some before the end are free.
const requestSize = 2 << 20

// create begins an image. Nothing that is written before Finish makes a header.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	options, err := parseCreateOptions(o.Values)
	if err != nil {
		return nil, err
	}
	w := &writer{
		createOptions: options,
		space:         newSpace(options.clusterBits, options.refcountOrder),
		target:        t,
		data:          t,
		size:          size,
		dense:         o.Dense,
		best:          o.BestCompression,
		entrySize:     8,
		index:         -1,
	}
	w.bitmaps = o.Bitmaps
	if err := w.checkBitmaps(o.Bitmaps, size); err != nil {
		return nil, err
	}
	w.unit = w.clusterSize
	if w.extendedL2 {
		w.entrySize = 16
		if !o.Compress {
			w.unit = w.clusterSize / subclusters
		}
	}
	w.retire = w.writeReftable
	if o.Compress && w.encrypted {
		return nil, errors.New("Compression and encryption not supported at the same time") //nolint:staticcheck // qemu-img's text
	}
	if o.Compress && w.preallocation != "off" {
		return nil, errors.New("Compression and preallocation not supported at the same time") //nolint:staticcheck // qemu-img's text
	}
	w.span = w.clusterSize / w.entrySize * w.clusterSize
	if size > 1<<62 || (size+w.span-1)/w.span > maxL1Size/8 {
		return nil, errors.New("Could not resize image: Failed to grow the L1 table: File too large") //nolint:staticcheck // qemu-img's text
	}
	w.existing, w.zeroed, w.blank = o.Existing, o.Zeroed, o.Blank
	keys, err := w.newKeys(o) // before anything is written over what o.Old has
	if err != nil {
		return nil, err
	}
	if err := w.empty(); err != nil {
		return nil, err
	}
	if err := w.beginDataFile(o); err != nil {
		return nil, err
	}
	if _, err := w.encodeHeader(); err != nil { // names that there is no room for, before content comes
		return nil, err
	}
	if err := w.beginTables(); err != nil {
		return nil, err
	}
	var v disk.Writer = w
	if keys != nil {
		if v, err = w.encryptWith(keys); err != nil {
			return nil, err
		}
	}
	if err := w.preallocate(); err != nil {
		return nil, err
	}
	if w.ahead == nil {
		w.next = 0 // qemu-img opens the image anew
	}
	switch {
	case o.Compress && w.dataFile != "":
		return &refuser{w}, nil
	case o.Compress:
		return newCompressor(w)
	}
	return v, nil
}

// empty has the target hold no image.
func (w *writer) empty() error {
	if !w.existing {
		return w.target.Truncate(0)
	}
	_, err := w.target.WriteAt(make([]byte, disk.SectorSize), 0)
	return err
}

// beginDataFile has clusters go to an external data file, if there is to be one:
// each to where it is on the disk.
func (w *writer) beginDataFile(o disk.WriterOptions) error {
	if w.dataFile == "" {
		return nil
	}
	if len(o.Files) != 1 || len(o.FileNames) != 1 {
		return disk.Unsupportedf(formatName, "an external data file that is not given")
	}
	w.data, w.dataFile = o.Files[0], o.FileNames[0]
	if w.dataFileRaw && w.preallocation == "off" {
		w.preallocation = "metadata" // as QEMU has it, so that nothing is in the tables alone
	}
	if err := w.data.Truncate(0); err != nil {
		return err
	}
	if err := w.data.Truncate(w.size); err != nil {
		return err
	}
	if w.size > 0 && !w.dense && (w.preallocation == "falloc" || w.preallocation == "full") {
		return w.allocateZeros("Could not resize image: ", w.data, 0, w.size)
	}
	return nil
}

// Content is where clusters are written to.
func (w *writer) Content() disk.Target { return w.data }

// beginTables lays out what a new image has before there is content.
func (w *writer) beginTables() error {
	w.length = 3 * w.clusterSize
	tables := (w.size + w.span - 1) / w.span
	if tables == 0 {
		return nil
	}
	w.l1 = make([]uint64, tables)
	var err error
	if w.l1At, err = w.alloc(w.clusters(tables * 8)); err != nil {
		return err
	}
	w.reach(w.l1At*w.clusterSize + tables*8)
	return nil
}

// clusters returns how many clusters n bytes take.
func (w *writer) clusters(n int64) int64 { return (n + w.clusterSize - 1) / w.clusterSize }

// reach has the file be as long as that.
func (w *writer) reach(length int64) { w.length = max(w.length, length) }

func (w *writer) Unit() int64 { return w.unit }

// Place gives clusters to content, as many as lie in a row.
func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	if w.ahead != nil {
		return w.placePreallocated(off, n)
	}
	if off != w.runNext || off+n != w.runEnd { // not the rest of what was asked for
		w.runStart, w.runEnd = off, off+n
	}
	for placed < n {
		p := w.pending
		w.pending = piece{}
		if p.n == 0 || p.off != off+placed {
			if p, err = w.layOut(off+placed, n-placed); err != nil {
				return 0, 0, err
			}
		}
		if placed > 0 && p.at != at+placed {
			w.pending = p
			break
		}
		if placed == 0 {
			at = p.at
		}
		placed += p.n
	}
	w.runNext = off + placed
	return at, placed, nil
}

// layOut gives clusters to the first of n bytes at off, as qemu-img does for a
// request of its own size.
func (w *writer) layOut(off, n int64) (piece, error) {
	in := (off - w.runStart) % requestSize
	n = min(n, requestSize-in)
	follows := in != 0 && w.last.n > 0 && off == w.last.off+w.last.n
	p, err := w.allocate(off, n, follows)
	if err != nil {
		return p, err
	}
	w.mark(p)
	w.last = p
	return p, nil
}

// allocate gives clusters to the first of n bytes at off. If that follows the
// last piece, it is to do so in the file as well.
func (w *writer) allocate(off, n int64, follows bool) (piece, error) {
	slice := min(w.clusterSize, 4096) / w.entrySize * w.clusterSize // that QEMU has in memory of a table
	n = min(n, slice-off%slice)
	if err := w.load(off / w.span); err != nil {
		return piece{}, err
	}
	in := off % w.clusterSize
	if host := int64(w.entry(off) & offsetMask); host != 0 && w.dataFile == "" {
		return piece{off, host + in, min(n, w.clusterSize-in)}, nil
	}
	count := w.clusters(in + n)
	if w.dataFile != "" {
		for k := range count {
			w.setEntry(off+k*w.clusterSize, entryCopied|uint64(off-in+k*w.clusterSize))
		}
		w.dataLength = max(w.dataLength, (off+n+w.unit-1)/w.unit*w.unit)
		return piece{off, off, n}, nil
	}
	var at, got int64
	var err error
	if follows && (w.last.at+w.last.n)%w.clusterSize == 0 {
		at = (w.last.at + w.last.n) / w.clusterSize
		if got, err = w.allocAt(at, count); err != nil {
			return piece{}, err
		}
	}
	if got == 0 {
		if at, err = w.alloc(count); err != nil {
			return piece{}, err
		}
		got = count
	}
	for k := range got {
		w.setEntry(off+k*w.clusterSize, entryCopied|uint64((at+k)*w.clusterSize))
	}
	if !w.extendedL2 {
		w.reach((at + got) * w.clusterSize)
	}
	return piece{off, at*w.clusterSize + in, min(n, got*w.clusterSize-in)}, nil
}

// mark notes that content is stored in the subclusters of a piece.
func (w *writer) mark(p piece) {
	if !w.extendedL2 {
		return
	}
	sub := w.clusterSize / subclusters
	for off := p.off; off < p.off+p.n; off += sub {
		bitmap := w.table[w.entryAt(off)+8:][:8]
		bit := uint64(1) << (off % w.clusterSize / sub)
		binary.BigEndian.PutUint64(bitmap, binary.BigEndian.Uint64(bitmap)&^(bit<<32)|bit)
	}
	if w.dataFile == "" {
		w.reach((p.at + p.n + sub - 1) / sub * sub)
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
	return w.write(w.table, int64(w.l1[w.index]&offsetMask))
}

// write writes metadata.
func (w *writer) write(p []byte, at int64) error {
	w.reach(at + int64(len(p)))
	_, err := w.target.WriteAt(p, at)
	return err
}

// entryAt returns where in its L2 table the entry is of the cluster that has off.
func (w *writer) entryAt(off int64) int64 { return off % w.span / w.clusterSize * w.entrySize }

func (w *writer) entry(off int64) uint64 { return binary.BigEndian.Uint64(w.table[w.entryAt(off):]) }

func (w *writer) setEntry(off int64, entry uint64) {
	binary.BigEndian.PutUint64(w.table[w.entryAt(off):], entry)
}

// Zero leaves clusters out, unless all of the space is to be allocated or
// something below would show through.
func (w *writer) Zero(off, n int64) error {
	switch {
	case w.backingFile != "":
		return w.zeroClusters(off, n)
	case w.dense:
		return errors.ErrUnsupported
	case w.ahead != nil && w.encrypted && !w.blank: // what is in the clusters would be decrypted
		return w.zeroClusters(off, n)
	case w.ahead != nil && !w.zeroed && w.dataFile == "":
		return errors.ErrUnsupported
	}
	return nil
}

// zeroClusters marks clusters as reading as zeros, which version 2 can not.
func (w *writer) zeroClusters(off, n int64) error {
	if w.version < 3 {
		return errors.ErrUnsupported
	}
	for end := off + n; off < end; off += w.unit {
		if err := w.loadFor(off); err != nil {
			return err
		}
		if !w.extendedL2 {
			w.setEntry(off, w.entry(off)|entryZero)
			continue
		}
		bitmap := w.table[w.entryAt(off)+8:][:8]
		sub := w.clusterSize / subclusters
		for at := off; at < min(off+w.unit, (end+sub-1)/sub*sub); at += sub {
			bit := uint64(1) << (32 + at%w.clusterSize/sub)
			binary.BigEndian.PutUint64(bitmap, binary.BigEndian.Uint64(bitmap)|bit)
		}
	}
	return nil
}

// loadFor makes the L2 table current that has off, in the order in which tables
// are made.
func (w *writer) loadFor(off int64) error {
	if w.ahead != nil {
		_, err := w.preallocated(off)
		return err
	}
	return w.load(off / w.span)
}

// Finish writes the tables, and the header last.
func (w *writer) Finish() error {
	if err := w.finishPreallocation(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.writeBitmaps(); err != nil {
		return err
	}
	if err := w.writeRefcounts(); err != nil {
		return err
	}
	if err := w.writeL1(); err != nil {
		return err
	}
	if !w.existing {
		if err := w.target.Truncate(w.length); err != nil {
			return err
		}
	}
	if w.dataLength > w.size { // whole clusters are allocated
		if err := w.data.Truncate(w.dataLength); err != nil {
			return err
		}
	}
	header, err := w.encodeHeader()
	if err != nil {
		return err
	}
	_, err = w.target.WriteAt(header, 0)
	return err
}

func (w *writer) writeL1() error {
	if len(w.l1) == 0 {
		return nil
	}
	return w.write(encodeNumbers(w.l1), w.l1At*w.clusterSize)
}

// encodeNumbers returns a table as it is stored.
func encodeNumbers(table []uint64) []byte {
	p := make([]byte, 0, len(table)*8)
	for _, v := range table {
		p = binary.BigEndian.AppendUint64(p, v)
	}
	return p
}

// writeRefcounts writes the refcount blocks and their table.
func (w *writer) writeRefcounts() error {
	p := make([]byte, w.clusterSize)
	for index, at := range w.blocks {
		if at == 0 {
			continue
		}
		if w.stored[int64(index)] {
			continue
		}
		w.encodeRefcounts(p, int64(index))
		if err := w.write(p, at*w.clusterSize); err != nil {
			return err
		}
	}
	return w.writeReftable(w.tableAt, w.blocks)
}

// writeReftable writes a refcount table that has those blocks, to its end.
func (w *writer) writeReftable(at int64, blocks []int64) error {
	table := make([]uint64, w.tableEntries)
	for i, b := range blocks {
		table[i] = uint64(b * w.clusterSize)
	}
	return w.write(encodeNumbers(table), at*w.clusterSize)
}

// encodeRefcounts fills p with a refcount block: 1 for what is in use, and more
// for what compressed clusters share.
func (w *writer) encodeRefcounts(p []byte, block int64) {
	start := block * w.refsPerBlock
	if w.shares[block] == nil && w.isUsed(block) {
		if w.full == nil {
			w.full = make([]byte, w.clusterSize)
			for k := range w.refsPerBlock {
				setRefcount(w.full, w.refcountOrder, k, 1)
			}
		}
		copy(p, w.full)
		return
	}
	fill := func(from, to int64, n uint64) {
		for c := max(from, start); c < min(to, start+w.refsPerBlock); c++ {
			setRefcount(p, w.refcountOrder, c-start, n)
		}
	}
	if start >= w.end {
		clear(p)
		return
	}
	fill(start, w.end, 1)
	fill(w.end, math.MaxInt64, 0)
	for _, f := range w.freeIn(start, start+w.refsPerBlock) {
		fill(f.start, f.end, 0)
	}
	shares := w.shares[block]
	if shares == nil {
		return
	}
	for k := range w.refsPerBlock {
		if n := refcount(shares, w.refcountOrder, k); n > 0 {
			setRefcount(p, w.refcountOrder, k, n)
		}
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
