package vmdk

import (
	"encoding/binary"
	"errors"
	"math"

	"instar/disk"
)

// The layout of sparse extents that are written, as qemu-img's.
const (
	grainSize      = 64 << 10
	tableEntries   = maxTableHosted
	tableSize      = tableEntries * 4
	tableSpan      = tableEntries * grainSize // of the disk
	embeddedLength = maxEmbedded
	redundantAt    = embeddedAt + embeddedLength // the redundant grain directory
	flagsAlways    = 3                           // valid new line detection test, redundant grain table
	flagCompressed = 1 << 16

	// fileSpan is the room for an extent in the target that several make up.
	fileSpan = 1 << 32
)

// A sparseExtent is one that is written: a header, perhaps a descriptor, two
// grain directories with their tables, and grains.
type sparseExtent struct {
	createOptions
	target disk.Target
	device bool  // whose length stays
	size   int64 // of the disk, bytes
	grains int64 // offset of the first
	next   int64 // offset of the next grain
	end    int64 // of the file

	directory int64    // offset
	tables    int64    // number
	index     int64    // of the current table; -1 is none
	table     []uint32 // its entries
}

func newSparseExtent(t disk.Target, size int64, o createOptions) *sparseExtent {
	s := &sparseExtent{createOptions: o, target: t, size: size, index: -1, tables: (size + tableSpan - 1) / tableSpan}
	s.directory = redundantAt + s.half()
	s.grains = roundUp(s.directory+s.half(), grainSize)
	s.next, s.end = s.grains, s.grains
	s.table = make([]uint32, tableEntries)
	return s
}

// begin has everything before the grains read as zeros.
func (s *sparseExtent) begin() error {
	if !s.device {
		return errors.Join(s.target.Truncate(0), s.target.Truncate(s.grains))
	}
	zeros := make([]byte, min(s.grains, 1<<20))
	for at := int64(0); at < s.grains; at += int64(len(zeros)) {
		if _, err := s.target.WriteAt(zeros[:min(int64(len(zeros)), s.grains-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// directoryLength returns the length of a grain directory in bytes.
func (s *sparseExtent) directoryLength() int64 { return roundUp(s.tables*4, disk.SectorSize) }

// half returns the length of a grain directory with its tables in bytes.
func (s *sparseExtent) half() int64 { return s.directoryLength() + s.tables*tableSize }

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// alloc takes n bytes, in whole units, into use.
func (s *sparseExtent) alloc(n, unit int64) (int64, error) {
	at := s.next
	if at > math.MaxUint32*disk.SectorSize-n {
		return 0, errFileTooLarge // sectors have 32 bits
	}
	s.next = roundUp(at+n, unit)
	s.end = max(s.next, at+grainSize)
	return at, nil
}

// load makes the table of that index the current one.
func (s *sparseExtent) load(index int64) error {
	if index == s.index {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.index = index
	clear(s.table)
	return nil
}

// flush writes the current table, twice.
func (s *sparseExtent) flush() error {
	if s.index < 0 {
		return nil
	}
	for _, directory := range []int64{redundantAt, s.directory} {
		if err := s.writeNumbers(s.table, directory+s.directoryLength()+s.index*tableSize); err != nil {
			return err
		}
	}
	return nil
}

// set has grain number index be stored at an offset.
func (s *sparseExtent) set(index, at int64) {
	s.table[index%tableEntries] = uint32(at / disk.SectorSize)
}

// place reserves room for the grains of [off, off+n), as many as one table maps.
func (s *sparseExtent) place(off, n int64) (at, placed int64, err error) {
	if err := s.load(off / tableSpan); err != nil {
		return 0, 0, err
	}
	placed = min(n, tableSpan-off%tableSpan)
	if at, err = s.alloc(placed, grainSize); err != nil {
		return 0, 0, err
	}
	for k := int64(0); k < placed; k += grainSize {
		s.set((off+k)/grainSize, at+k)
	}
	return at, placed, nil
}

// writeDirectories writes both grain directories.
func (s *sparseExtent) writeDirectories() error {
	entries := make([]uint32, s.tables)
	for _, directory := range []int64{redundantAt, s.directory} {
		first := directory + s.directoryLength()
		if (first+s.tables*tableSize)/disk.SectorSize > math.MaxUint32 {
			return errTooLarge
		}
		for k := range entries {
			entries[k] = uint32((first + int64(k)*tableSize) / disk.SectorSize)
		}
		if err := s.writeNumbers(entries, directory); err != nil {
			return err
		}
	}
	return nil
}

func (s *sparseExtent) writeNumbers(table []uint32, at int64) error {
	p := make([]byte, 0, len(table)*4)
	for _, v := range table {
		p = binary.LittleEndian.AppendUint32(p, v)
	}
	_, err := s.target.WriteAt(p, at)
	return err
}

// finish writes the tables, the embedded descriptor and then the header.
func (s *sparseExtent) finish(descriptor []byte) error {
	if err := errors.Join(s.flush(), s.writeDirectories()); err != nil {
		return err
	}
	if !s.device {
		if err := s.target.Truncate(s.end); err != nil {
			return err
		}
	}
	if descriptor != nil {
		if _, err := s.target.WriteAt(descriptor, embeddedAt); err != nil {
			return err
		}
	}
	_, err := s.target.WriteAt(s.header(), 0)
	return err
}

// header encodes the header ("Hosted Sparse Extent Header").
func (s *sparseExtent) header() []byte {
	le := binary.LittleEndian
	h := make([]byte, headerSize)
	copy(h, magicHosted)
	version, flags := uint32(1), uint32(flagsAlways)
	if s.zeroGrains {
		version, flags = 2, flags|flagZeroGrain
	}
	if s.compress {
		version, flags = versionMax, flags|flagMarkers|flagCompressed
		le.PutUint16(h[77:], compressionDefl)
	}
	le.PutUint32(h[4:], version)
	le.PutUint32(h[8:], flags)
	le.PutUint64(h[12:], uint64(s.size/disk.SectorSize))
	le.PutUint64(h[20:], grainSize/disk.SectorSize)
	le.PutUint64(h[28:], embeddedAt/disk.SectorSize)
	le.PutUint64(h[36:], embeddedLength/disk.SectorSize)
	le.PutUint32(h[44:], tableEntries)
	le.PutUint64(h[48:], redundantAt/disk.SectorSize)
	le.PutUint64(h[56:], uint64(s.directory/disk.SectorSize))
	le.PutUint64(h[64:], uint64(s.grains/disk.SectorSize))
	copy(h[73:], "\n \r\n")
	return h
}

// A sparseWriter writes one sparse extent with the descriptor in it, or several
// beside it.
type sparseWriter struct {
	*newImage
	extents []*sparseExtent
	joined  disk.Target // the files of several extents
}

func (w *sparseWriter) Unit() int64 { return grainSize }

func (w *sparseWriter) Content() disk.Target {
	if w.joined != nil {
		return w.joined
	}
	return w.target
}

func (w *sparseWriter) Place(off, n int64) (at, placed int64, err error) {
	w.stored = true
	if w.joined == nil {
		return w.extents[0].place(off, n)
	}
	k := off / splitSize
	at, placed, err = w.extents[k].place(off%splitSize, min(n, splitSize-off%splitSize))
	return k*fileSpan + at, placed, err
}

// Zero leaves grains out, unless all of the space is to be allocated, or the
// parent would show through and there are no grains of zeros.
func (w *sparseWriter) Zero(off, n int64) error {
	switch {
	case w.backing != "" && w.zeroGrains:
		return w.zeroGrain(off, n)
	case w.backing != "" || w.dense:
		return errors.ErrUnsupported
	}
	return nil
}

// zeroGrain marks grains as zeros.
func (w *sparseWriter) zeroGrain(off, n int64) error {
	w.stored = true
	for end := off + n; off < end; off += grainSize {
		s, in := w.extents[0], off
		if w.joined != nil {
			s, in = w.extents[off/splitSize], off%splitSize
		}
		if err := s.load(in / tableSpan); err != nil {
			return err
		}
		s.table[in/grainSize%tableEntries] = entryZeroed
	}
	return nil
}

// Finish completes the extents, and then the descriptor.
func (w *sparseWriter) Finish() error {
	if w.joined == nil {
		return w.extents[0].finish(w.descriptor())
	}
	for _, s := range w.extents {
		if err := s.finish(nil); err != nil {
			return err
		}
	}
	return w.writeDescriptor()
}
