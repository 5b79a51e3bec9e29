package qcow2

import (
	"encoding/binary"
	"math"

	"instar/disk"
)

// Limits on persistent bitmaps; QEMU has the same (block/qcow2-bitmap.c).
const (
	maxBitmaps           = 65535
	maxBitmapDirectory   = maxBitmaps * 1024 // bytes
	maxBitmapName        = 1023              // bytes
	maxBitmapTable       = 0x8000000         // entries
	maxBitmapSize        = 0x20000000        // bytes
	minBitmapGranularity = 9                 // bits
	maxBitmapGranularity = 31                // bits
)

// The layout of a bitmap directory entry, and of the header extension.
const (
	bitmapsExtensionSize = 24 // bytes
	bitmapEntrySize      = 24 // bytes before the name
	bitmapDirtyTracking  = 1  // the one type
	bitmapInUse          = 1 << 0
	bitmapAuto           = 1 << 1
)

// A bitmapsExtension says where the directory of the persistent bitmaps is.
// They say nothing about content, and are only listed.
type bitmapsExtension struct {
	count  uint32
	size   uint64 // of the directory in bytes
	offset uint64
}

// readBitmapsExtension reads the header extension. Where a program that does
// not know bitmaps has changed the image (the feature bit is clear), they are
// not to be trusted, and not looked at.
func (h *header) readBitmapsExtension(data []byte) error {
	if len(data) != bitmapsExtensionSize {
		return disk.Corruptf(formatName, "bitmaps_ext: Invalid extension length")
	}
	if h.autoclear&featureBitmaps == 0 {
		return nil
	}
	be := binary.BigEndian
	b := bitmapsExtension{count: be.Uint32(data), size: be.Uint64(data[8:]), offset: be.Uint64(data[16:])}
	switch {
	case be.Uint32(data[4:]) != 0:
		return disk.Corruptf(formatName, "bitmaps_ext: Reserved field is not zero")
	case b.count > maxBitmaps:
		return disk.Corruptf(formatName, "bitmaps_ext: Image has %d bitmaps, exceeding the QEMU supported maximum of %d", b.count, maxBitmaps)
	case b.count == 0:
		return disk.Corruptf(formatName, "found bitmaps extension with zero bitmaps")
	case b.offset&uint64(h.clusterSize-1) != 0, b.offset > math.MaxInt64-maxBitmapDirectory:
		return disk.Corruptf(formatName, "bitmaps_ext: invalid bitmap directory offset")
	case b.size > maxBitmapDirectory:
		return disk.Corruptf(formatName, "bitmaps_ext: bitmap directory size (%d) exceeds the maximum supported size (%d)", b.size, maxBitmapDirectory)
	}
	h.bitmaps = b
	return nil
}

// readBitmaps lists the bitmaps as qemu-img info does.
func (i *image) readBitmaps() ([]any, error) {
	var list []any
	err := i.eachBitmap(func(p []byte) error {
		b, err := i.readBitmap(p)
		list = append(list, b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// eachBitmap calls f for the directory's entries, each of which begins p.
func (i *image) eachBitmap(f func(p []byte) error) error {
	count := uint32(0)
	var entry [bitmapEntrySize + maxBitmapName]byte
	for at := uint64(0); at < i.bitmaps.size; {
		left := i.bitmaps.size - at
		if left < bitmapEntrySize {
			return disk.Corruptf(formatName, "Broken bitmap directory")
		}
		p := entry[:min(left, uint64(len(entry)))]
		if err := i.tables.ReadAt(p, int64(i.bitmaps.offset+at)); err != nil {
			return err
		}
		nameSize, extraSize := uint64(binary.BigEndian.Uint16(p[18:])), uint64(binary.BigEndian.Uint32(p[20:]))
		length := (bitmapEntrySize + nameSize + extraSize + 7) &^ 7
		switch {
		case length > left:
			return disk.Corruptf(formatName, "Broken bitmap directory")
		case extraSize != 0:
			return disk.Corruptf(formatName, "Bitmap extra data is not supported")
		case count == i.bitmaps.count:
			return disk.Corruptf(formatName, "More bitmaps found than specified in header extension")
		}
		if err := f(p); err != nil {
			return err
		}
		count++
		at += length
	}
	if count != i.bitmaps.count {
		return disk.Corruptf(formatName, "Less bitmaps found than specified in header extension")
	}
	return nil
}

// readBitmap reads a directory entry, which p begins with, and checks it.
func (h *header) readBitmap(p []byte) ([]disk.Detail, error) {
	be := binary.BigEndian
	offset, size, flags := be.Uint64(p), be.Uint32(p[8:]), be.Uint32(p[12:])
	kind, granularity, nameSize := p[16], p[17], int(be.Uint16(p[18:]))
	name := untilNUL(p[bitmapEntrySize:min(len(p), bitmapEntrySize+nameSize)])

	stored := uint64(size) * uint64(h.clusterSize)
	switch {
	case size == 0, size > maxBitmapTable, stored > maxBitmapSize,
		offset == 0, offset&uint64(h.clusterSize-1) != 0,
		granularity < minBitmapGranularity, granularity > maxBitmapGranularity,
		flags&^(bitmapInUse|bitmapAuto) != 0,
		name == "", nameSize > maxBitmapName,
		kind != bitmapDirtyTracking,
		flags&bitmapInUse == 0 && h.size > stored*8<<granularity:
		return nil, disk.Corruptf(formatName, "Bitmap '%s' doesn't satisfy the constraints", name)
	}
	set := []any{}
	if flags&bitmapInUse != 0 {
		set = append(set, "in-use")
	}
	if flags&bitmapAuto != 0 {
		set = append(set, "auto")
	}
	return []disk.Detail{
		{Key: "flags", Value: set},
		{Key: "name", Value: name},
		{Key: "granularity", Value: int64(1) << granularity},
	}, nil
}
