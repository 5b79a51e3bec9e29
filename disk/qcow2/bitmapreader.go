package qcow2

import (
	"encoding/binary"
	"io"

	"instar/disk"
)

// Bitmaps is [disk.BitmapSource]'s.
func (i *image) Bitmaps() ([]disk.Bitmap, error) {
	var list []disk.Bitmap
	err := i.eachBitmap(func(p []byte) error {
		if _, err := i.readBitmap(p); err != nil {
			return err
		}
		be := binary.BigEndian
		flags, granularity := be.Uint32(p[12:]), p[17]
		list = append(list, disk.Bitmap{
			Name:        untilNUL(p[bitmapEntrySize:min(len(p), bitmapEntrySize+int(be.Uint16(p[18:])))]),
			Granularity: 1 << granularity,
			Auto:        flags&bitmapAuto != 0,
			Broken:      flags&bitmapInUse != 0,
			Bits:        &bitmapBits{image: i, table: int64(be.Uint64(p)), entries: int64(be.Uint32(p[8:]))},
		})
		return nil
	})
	return list, err
}

// Bits of an entry of a bitmap table.
const (
	bitmapOnes     = 1 // with no offset: all bits are set
	bitmapReserved = 0xff000000000001fe
)

// bitmapBits reads the bits of a bitmap by its table, whose entries stand for a
// cluster each.
type bitmapBits struct {
	image          *image
	table, entries int64 // offset in the file, and number
}

func (b *bitmapBits) ReadAt(p []byte, off int64) (int, error) {
	size := b.image.clusterSize
	for done := 0; done < len(p); {
		at := off + int64(done)
		if at/size >= b.entries {
			return done, io.EOF
		}
		part := p[done:min(int64(len(p)), int64(done)+size-at%size)]
		if err := b.read(part, at); err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(p), nil
}

// read reads a part of one cluster.
func (b *bitmapBits) read(p []byte, at int64) error {
	size := b.image.clusterSize
	var raw [8]byte
	if err := b.image.tables.ReadAt(raw[:], b.table+at/size*8); err != nil {
		return err
	}
	entry := binary.BigEndian.Uint64(raw[:])
	offset, err := b.image.bitmapCluster(entry)
	switch {
	case err != nil:
		return err
	case offset != 0:
		return disk.ReadStored(b.image.file, p, offset+at%size)
	}
	fill := byte(0)
	if entry&bitmapOnes != 0 {
		fill = 0xff
	}
	for k := range p {
		p[k] = fill
	}
	return nil
}

// bitmapCluster returns where an entry of a bitmap table has its cluster; 0 is
// nowhere.
func (h *header) bitmapCluster(entry uint64) (int64, error) {
	offset := int64(entry & offsetMask)
	if entry&bitmapReserved != 0 || offset != 0 && entry&bitmapOnes != 0 || offset&(h.clusterSize-1) != 0 {
		return 0, disk.Corruptf(formatName, "bitmap table entry %#x", entry)
	}
	return offset, nil
}
