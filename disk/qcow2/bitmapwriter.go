package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"instar/disk"
	"instar/internal/zeros"
)

// checkBitmaps says why bitmaps cannot be stored in an image of size bytes.
func (o *createOptions) checkBitmaps(list []disk.Bitmap, size int64) error {
	if len(list) == 0 {
		return nil
	}
	if o.version < 3 {
		return errors.New("Cannot store dirty bitmaps in qcow2 v2 files") //nolint:staticcheck // qemu-img's text
	}
	if len(list) > maxBitmaps {
		return fmt.Errorf("%d bitmaps are more than the %d that an image can have", len(list), maxBitmaps)
	}
	for _, b := range list {
		granularity := bits.Len64(uint64(b.Granularity)) - 1
		if b.Granularity <= 0 || bits.OnesCount64(uint64(b.Granularity)) != 1 || granularity < minBitmapGranularity || granularity > maxBitmapGranularity ||
			b.Name == "" || len(b.Name) > maxBitmapName || bitmapLength(b, size) > maxBitmapSize {
			return fmt.Errorf("bitmap '%s' is beyond what an image can have", b.Name)
		}
	}
	return nil
}

// bitmapLength returns how many bytes the bits of a bitmap take.
func bitmapLength(b disk.Bitmap, size int64) int64 {
	n := size / b.Granularity
	if size%b.Granularity != 0 {
		n++
	}
	return (n + 7) / 8
}

// writeBitmaps stores the bitmaps behind the content, and their directory behind
// them.
func (w *writer) writeBitmaps() error {
	if len(w.bitmaps) == 0 {
		return nil
	}
	var directory []byte
	for _, b := range w.bitmaps {
		entry, err := w.writeBitmap(b)
		if err != nil {
			return fmt.Errorf("bitmap '%s': %w", b.Name, err)
		}
		directory = append(directory, entry...)
	}
	at, err := w.alloc(w.clusters(int64(len(directory))))
	if err != nil {
		return err
	}
	w.bitmapDirectory = bitmapsExtension{count: uint32(len(w.bitmaps)), size: uint64(len(directory)), offset: uint64(at * w.clusterSize)}
	return w.write(directory, at*w.clusterSize)
}

// writeBitmap stores the bits of a bitmap, but for clusters of zeros, and the
// table of these clusters. It returns its entry in the directory.
func (w *writer) writeBitmap(b disk.Bitmap) ([]byte, error) {
	be := binary.BigEndian
	length := bitmapLength(b, w.size)
	table := make([]byte, 8*max(w.clusters(length), 1))
	cluster := make([]byte, w.clusterSize)
	for k := range w.clusters(length) {
		clear(cluster)
		if err := disk.ReadStored(b.Bits, cluster[:min(w.clusterSize, length-k*w.clusterSize)], k*w.clusterSize); err != nil {
			return nil, err
		}
		if zeros.All(cluster) {
			continue
		}
		at, err := w.alloc(1)
		if err != nil {
			return nil, err
		}
		if err := w.write(cluster, at*w.clusterSize); err != nil {
			return nil, err
		}
		be.PutUint64(table[8*k:], uint64(at*w.clusterSize))
	}
	at, err := w.alloc(w.clusters(int64(len(table))))
	if err != nil {
		return nil, err
	}
	if err := w.write(table, at*w.clusterSize); err != nil {
		return nil, err
	}
	entry := make([]byte, (bitmapEntrySize+len(b.Name)+7)&^7)
	be.PutUint64(entry, uint64(at*w.clusterSize))
	be.PutUint32(entry[8:], uint32(len(table)/8))
	if b.Auto {
		be.PutUint32(entry[12:], bitmapAuto)
	}
	entry[16] = bitmapDirtyTracking
	entry[17] = byte(bits.TrailingZeros64(uint64(b.Granularity)))
	be.PutUint16(entry[18:], uint16(len(b.Name)))
	copy(entry[bitmapEntrySize:], b.Name)
	return entry, nil
}

// encode returns the header extension that says where the directory is.
func (b bitmapsExtension) encode() []byte {
	p := make([]byte, bitmapsExtensionSize)
	binary.BigEndian.PutUint32(p, b.count)
	binary.BigEndian.PutUint64(p[8:], b.size)
	binary.BigEndian.PutUint64(p[16:], b.offset)
	return p
}
