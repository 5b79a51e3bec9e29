package qcow

import (
	"encoding/binary"
	"errors"
	"sync"

	"instar/disk"
	"instar/disk/internal/deflate"
	"instar/disk/internal/lay"
)

// A writer lays an image out as QEMU does for content that comes in order: the
// header, the L1 table, and from there on each L2 table before its clusters. An
// L2 table is written when the next one begins, the header at the very end.
type writer struct {
	target   disk.Target
	size     int64
	header   []byte
	cluster  int64
	dense    bool
	zeroed   bool
	existing bool
	backing  bool

	end   int64 // of what is in use, bytes
	l1    *lay.Table
	l2    []byte
	l2At  int64
	index int64 // of the L2 table in l2; -1 is none
}

// A compressor is a writer whose clusters are stored compressed, each at the
// start of a sector.
type compressor struct {
	writer
	encoders sync.Pool // of *deflate.Encoder
}

// window is that of the deflate streams in bytes: readers inflate with 12 bits.
const window = 4096

// create begins an image. Clusters have 4 KiB, and 512 bytes above a backing
// file, as QEMU has it.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if err := checkOptions(o.Values, size); err != nil {
		return nil, err
	}
	clusterBits, l2Bits := byte(12), byte(9)
	name := o.Values["backing_file"]
	if name != "" {
		clusterBits, l2Bits = 9, 12
	}
	span := int64(1) << (clusterBits + l2Bits)
	tables := (size-1)/span + 1
	if tables > maxL1Entries {
		return nil, errors.New("Image too large") //nolint:staticcheck // qemu-img's text
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	w := writer{
		target: t, size: size, cluster: 1 << clusterBits, backing: name != "",
		dense: o.Dense, zeroed: o.Zeroed || !o.Existing, existing: o.Existing, index: -1,
	}
	l1At := int64(headerSize+len(name)+7) &^ 7
	l1Length := roundUp(8*tables, disk.SectorSize)
	w.header = newHeader(size, clusterBits, l2Bits, name, l1At)
	w.l1 = lay.NewTable(t, l1At, l1Length, 0, w.zeroed)
	w.l2 = make([]byte, 8<<l2Bits)
	w.end = l1At + l1Length
	if o.Compress {
		c := &compressor{writer: w}
		c.encoders.New = func() any { return deflate.New(window, deflate.LevelFor(o.BestCompression)) }
		return c, nil
	}
	return &w, nil
}

func checkOptions(values map[string]string, size int64) error {
	options, err := lay.Options(formatName, values)
	if err != nil {
		return err
	}
	format, given := values["encrypt.format"]
	switch {
	case size == 0:
		return errors.New("Image size is too small, cannot be zero length") //nolint:staticcheck // qemu-img's text
	case given && format != "aes":
		return errors.New("Unsupported encryption format") //nolint:staticcheck // qemu-img's text
	case given || options.On("encryption", false):
		return disk.Unsupportedf(formatName, "qcow images are not written encrypted (use qcow2 with encrypt.format=luks)")
	case len(values["backing_file"]) > maxBackingName:
		return errors.New("Backing file name too long") //nolint:staticcheck // qemu-img's text
	}
	return nil
}

// newHeader returns the header of a new image and the name behind it.
func newHeader(size int64, clusterBits, l2Bits byte, name string, l1At int64) []byte {
	be := binary.BigEndian
	p := make([]byte, headerSize, l1At)
	copy(p, "QFI\xfb")
	be.PutUint32(p[4:], 1)
	if name != "" {
		be.PutUint64(p[8:], headerSize)
		be.PutUint32(p[16:], uint32(len(name)))
	}
	be.PutUint64(p[24:], uint64(size))
	p[32], p[33] = clusterBits, l2Bits
	be.PutUint64(p[40:], uint64(l1At))
	return append(p, name...)[:l1At]
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func (w *writer) Unit() int64 { return w.cluster }

// span returns how much of the disk an L2 table maps.
func (w *writer) span() int64 { return int64(len(w.l2)/8) * w.cluster }

// load makes the L2 table for an offset the current one, and begins it if need
// be.
func (w *writer) load(off int64) error {
	index := off / w.span()
	if index == w.index {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	clear(w.l2)
	w.index, w.l2At = index, roundUp(w.end, w.cluster)
	if err := w.fill(w.end, w.l2At); err != nil {
		return err
	}
	w.end = w.l2At + int64(len(w.l2))
	return w.l1.Set(8*index, binary.BigEndian.AppendUint64(nil, uint64(w.l2At)))
}

// flush writes the current L2 table.
func (w *writer) flush() error {
	if w.index < 0 {
		return nil
	}
	_, err := w.target.WriteAt(w.l2, w.l2At)
	return err
}

// fill has [from, to) of the target, which nothing is stored in, read as zeros.
func (w *writer) fill(from, to int64) error {
	if w.zeroed {
		return nil
	}
	return lay.Zeros(w.target, from, to-from)
}

func (w *writer) setEntry(off int64, entry uint64) {
	binary.BigEndian.PutUint64(w.l2[off%w.span()/w.cluster*8:], entry)
}

// Place gives clusters to content, as many in a row as one L2 table maps.
func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	if err := w.load(off); err != nil {
		return 0, 0, err
	}
	at, placed = roundUp(w.end, w.cluster), min(n, w.span()-off%w.span())
	if err := w.fill(w.end, at); err != nil {
		return 0, 0, err
	}
	for k := int64(0); k < placed; k += w.cluster {
		w.setEntry(off+k, uint64(at+k))
	}
	w.end = at + roundUp(placed, w.cluster)
	return at, placed, w.fill(at+placed, w.end)
}

// Zero leaves clusters out, unless all of the space is to be allocated or
// something below would show through.
func (w *writer) Zero(_, _ int64) error {
	if w.dense || w.backing {
		return errors.ErrUnsupported
	}
	return nil
}

// Compress compresses a cluster; what lies behind the end of the disk is zeros.
func (w *compressor) Compress(dst, unit []byte, _ int64) ([]byte, error) {
	if short := w.cluster - int64(len(unit)); short > 0 {
		unit = append(append(make([]byte, 0, w.cluster), unit...), make([]byte, short)...)
	}
	e := w.encoders.Get().(*deflate.Encoder) //nolint:forcetypeassert // New makes no other
	defer w.encoders.Put(e)
	out := e.Append(dst, unit)
	if int64(len(out)-len(dst)) >= w.cluster {
		return nil, nil
	}
	return out, nil
}

func (w *compressor) PlaceCompressed(off, n int64) (int64, error) {
	if err := w.load(off); err != nil {
		return 0, err
	}
	at := roundUp(w.end, disk.SectorSize)
	if err := w.fill(w.end, at); err != nil {
		return 0, err
	}
	clusterBits := w.header[32]
	if at >= 1<<(63-clusterBits) {
		return 0, errors.New("compressed clusters lie beyond what an entry can say")
	}
	w.setEntry(off, 1<<63|uint64(n)<<(63-clusterBits)|uint64(at))
	w.end = at + n
	return at, nil
}

// Finish writes the tables, and the header last.
func (w *writer) Finish() error {
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
	_, err := w.target.WriteAt(w.header, 0)
	return err
}
