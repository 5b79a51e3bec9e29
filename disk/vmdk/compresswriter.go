package vmdk

import (
	"encoding/binary"
	"sync"

	"instar/disk"
	"instar/disk/internal/deflate"
)

// A compressor writes a stream-optimized extent: each grain is a zlib stream
// (RFC 1950) behind a marker, and begins on a sector.
type compressor struct {
	*sparseWriter
	encoders sync.Pool
}

func newCompressor(w *sparseWriter, level deflate.Level) *compressor {
	c := &compressor{sparseWriter: w}
	c.encoders.New = func() any { return deflate.New(deflate.MaxWindow, level) }
	return c
}

// Compress always compresses: there is no other way to store a grain.
func (c *compressor) Compress(dst, unit []byte, off int64) ([]byte, error) {
	e := c.encoders.Get().(*deflate.Encoder)
	defer c.encoders.Put(e)
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(off/disk.SectorSize))
	dst = append(dst, 0, 0, 0, 0) // the length
	dst = e.AppendZlib(dst, unit)
	binary.LittleEndian.PutUint32(dst[start+8:], uint32(len(dst)-start-markerSize))
	// Up to the next sector, so that grains can be written together.
	return append(dst, sector[:-(len(dst)-start)&(disk.SectorSize-1)]...), nil
}

var sector [disk.SectorSize]byte // of zeros

func (c *compressor) PlaceCompressed(off, n int64) (int64, error) {
	s := c.extents[0]
	c.stored = true
	if err := s.load(off / tableSpan); err != nil {
		return 0, err
	}
	at, err := s.alloc(n, disk.SectorSize)
	s.set(off/grainSize, at)
	return at, err
}
