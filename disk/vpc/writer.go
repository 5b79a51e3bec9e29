package vpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"instar/disk"
)

const (
	// newBlockSize is that of all images that QEMU makes.
	newBlockSize = 2 << 20
	newBATOffset = footerSize + dynamicSize

	// pageSize is the unit of content where not all of a block has to be
	// written.
	pageSize = 4096
)

// A layout is what fixed and dynamic disks have in common.
type layout struct {
	target   disk.Target
	geometry geometry
	size     int64 // virtual, bytes
	footer   []byte
	dense    bool
	zeroed   bool
	existing bool
}

// Size implements [disk.Sizer]: a geometry has room for what was asked for, or
// for more.
func (l *layout) Size() int64 { return l.size }

// A fixedWriter has nothing to lay out but a footer: content goes where it is.
type fixedWriter struct{ layout }

func (w *fixedWriter) Unit() int64 { return pageSize }

func (w *fixedWriter) Place(off, n int64) (at, placed int64, err error) { return off, n, nil }

func (w *fixedWriter) Zero(off, n int64) error {
	if w.zeroed && !w.dense {
		return nil
	}
	return w.target.Zero(off, n)
}

func (w *fixedWriter) Finish() error {
	_, err := w.target.WriteAt(w.footer, w.size)
	return err
}

// A dynamicWriter stores blocks in the order in which content comes, as QEMU
// does, each behind a bitmap that says that all of its sectors are there.
type dynamicWriter struct {
	layout
	content int64    // bytes that may be placed
	bat     []uint32 // in sectors
	end     int64    // of the blocks so far, bytes
	bitmap  []byte
}

func newDynamicWriter(l layout, content int64) *dynamicWriter {
	w := &dynamicWriter{layout: l, content: content}
	w.bat = make([]uint32, (l.size+newBlockSize-1)/newBlockSize)
	for k := range w.bat {
		w.bat[k] = unallocated
	}
	w.end = newBATOffset + (4*int64(len(w.bat))+disk.SectorSize-1)/disk.SectorSize*disk.SectorSize
	w.bitmap = bytes.Repeat([]byte{0xff}, newBlockSize/disk.SectorSize/8)
	return w
}

// Unit is a block where all of it has to be written, and less where it already
// reads as zeros.
func (w *dynamicWriter) Unit() int64 {
	if w.zeroed {
		return pageSize
	}
	return newBlockSize
}

func (w *dynamicWriter) Place(off, n int64) (at, placed int64, err error) {
	index, in := off/newBlockSize, off%newBlockSize
	if w.bat[index] == unallocated {
		if err := w.alloc(index); err != nil {
			return 0, 0, err
		}
	}
	block := int64(w.bat[index])*disk.SectorSize + int64(len(w.bitmap))
	return block + in, min(n, newBlockSize-in), nil
}

// alloc stores a block, as far as its bitmap, and what no content will come for.
func (w *dynamicWriter) alloc(index int64) error {
	if _, err := w.target.WriteAt(w.bitmap, w.end); err != nil {
		return err
	}
	w.bat[index] = uint32(w.end / disk.SectorSize)
	start := w.end + int64(len(w.bitmap))
	w.end = start + newBlockSize
	if rest := (index+1)*newBlockSize - w.content; rest > 0 && !w.zeroed {
		_, err := w.target.WriteAt(make([]byte, rest), w.end-rest)
		return err
	}
	return nil
}

// Zero leaves blocks out, unless all of the space is to be allocated. What is
// left out of a block that is stored reads as zeros in the file.
func (w *dynamicWriter) Zero(_, _ int64) error {
	if w.dense {
		return errors.ErrUnsupported
	}
	return nil
}

// Finish writes the BAT and the headers; the footer at the start, without which
// the rest is nothing, comes last.
func (w *dynamicWriter) Finish() error {
	be := binary.BigEndian
	table := make([]byte, 0, 4*len(w.bat)+disk.SectorSize)
	for _, entry := range w.bat {
		table = be.AppendUint32(table, entry)
	}
	for len(table)%disk.SectorSize != 0 {
		table = append(table, 0xff)
	}
	if !w.existing {
		if err := w.target.Truncate(w.end + footerSize); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		p  []byte
		at int64
	}{
		{table, newBATOffset},
		{newDynamicHeader(len(w.bat)), footerSize},
		{w.footer, w.end},
		{w.footer, 0},
	} {
		if _, err := w.target.WriteAt(part.p, part.at); err != nil {
			return err
		}
	}
	return nil
}

// newDynamicHeader returns the dynamic disk header for a BAT of that many
// entries.
func newDynamicHeader(entries int) []byte {
	be := binary.BigEndian
	p := make([]byte, dynamicSize)
	copy(p, dynamicCookie)
	be.PutUint64(p[8:], math.MaxUint64)
	be.PutUint64(p[16:], newBATOffset)
	be.PutUint32(p[24:], 1<<16)
	be.PutUint32(p[28:], uint32(entries))
	be.PutUint32(p[32:], newBlockSize)
	be.PutUint32(p[dynamicSum:], checksum(p, dynamicSum))
	return p
}
