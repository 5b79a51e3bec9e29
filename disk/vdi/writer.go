package vdi

import (
	"encoding/binary"
	"errors"

	"instar/disk"
	"instar/disk/internal/lay"
)

// typeDynamic and typeStatic are the types of images that are written.
const (
	typeDynamic = 1
	typeStatic  = 2
)

// A writer stores blocks in the order in which content comes, as QEMU does: the
// header, the table, and then the blocks. The header is written last.
type writer struct {
	lay.Blocks
	header   []byte
	table    *lay.Table
	blocks   int64 // of the disk
	dense    bool
	existing bool
}

// A staticWriter has all blocks in the order of the disk.
type staticWriter struct {
	writer
	size int64 // virtual, bytes
}

// create begins an image.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
	}
	options, err := lay.Options(formatName, o.Values)
	if err != nil {
		return nil, err
	}
	static := options.On("static", false)
	if size > maxSize {
		return nil, disk.Unsupportedf(formatName, "Unsupported VDI image size (size is %#x, max supported is %#x)", size, int64(maxSize))
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	w := writer{blocks: (size + blockSize - 1) / blockSize, dense: o.Dense, existing: o.Existing}
	w.Blocks = lay.Blocks{
		Target: t,
		First:  headerSize + (4*w.blocks+disk.SectorSize-1)/disk.SectorSize*disk.SectorSize,
		Block:  blockSize,
		Zeroed: o.Zeroed || !o.Existing,
	}
	w.table = lay.NewTable(t, headerSize, 4*w.blocks, 0xff, w.Zeroed)
	w.Stored = func(index, number int64) error { return setEntry(w.table, index, number) }
	kind := uint32(typeDynamic)
	if static {
		kind = typeStatic
	}
	w.header = newHeader(kind, size, w.blocks, w.First, o)
	if static {
		return &staticWriter{w, size}, nil
	}
	return &w, nil
}

func setEntry(t *lay.Table, index, number int64) error {
	return t.Set(4*index, binary.LittleEndian.AppendUint32(nil, uint32(number)))
}

// Zero leaves blocks out, unless all of the space is to be allocated.
func (w *writer) Zero(_, _ int64) error {
	if w.dense {
		return errors.ErrUnsupported
	}
	return nil
}

func (w *writer) Finish() error {
	if err := w.Close(); err != nil {
		return err
	}
	return w.finish(w.Count())
}

// finish writes all but the blocks, of which so many are stored.
func (w *writer) finish(stored int64) error {
	if !w.existing {
		if err := w.Target.Truncate(w.First + stored*blockSize); err != nil {
			return err
		}
	}
	if err := w.table.Close(); err != nil {
		return err
	}
	end := headerSize + 4*w.blocks
	if err := lay.Zeros(w.Target, end, w.First-end); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(w.header[0x184:], uint32(stored))
	_, err := w.Target.WriteAt(w.header, 0)
	return err
}

func (w *staticWriter) Place(off, n int64) (at, placed int64, err error) {
	return w.First + off, n, nil
}

func (w *staticWriter) Zero(off, n int64) error {
	if w.Zeroed && !w.dense {
		return nil
	}
	return w.Target.Zero(w.First+off, n)
}

func (w *staticWriter) Finish() error {
	for k := range w.blocks {
		if err := setEntry(w.table, k, k); err != nil {
			return err
		}
	}
	if !w.Zeroed { // behind the end of the disk
		if err := lay.Zeros(w.Target, w.First+w.size, w.blocks*blockSize-w.size); err != nil {
			return err
		}
	}
	return w.finish(w.blocks)
}

// newHeader returns the header of a new image, but for the number of blocks that
// are stored.
func newHeader(kind uint32, size, blocks, data int64, o disk.WriterOptions) []byte {
	p := make([]byte, headerSize)
	copy(p, "<<< QEMU VM Virtual Disk Image >>>\n")
	for off, v := range map[int]uint32{
		0x40: signature, 0x44: version, 0x48: 0x180, 0x4c: kind,
		0x154: headerSize, 0x158: uint32(data), 0x168: disk.SectorSize, 0x178: blockSize, 0x180: uint32(blocks),
	} {
		binary.LittleEndian.PutUint32(p[off:], v)
	}
	binary.LittleEndian.PutUint64(p[0x170:], uint64(size))
	if old, ok := o.Old.(*image); ok {
		copy(p[idsAt:], old.ids[:])
		return p
	}
	putUUID(p[idsAt:], o.UUID("vdi image"))
	putUUID(p[idsAt+16:], o.UUID("vdi last snapshot"))
	return p
}

// putUUID stores a UUID as Windows does: its first three numbers little-endian.
func putUUID(p []byte, id [16]byte) {
	for k, from := range [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		p[k] = id[from]
	}
}
