package vmdk

import (
	"encoding/binary"
	"hash/adler32"
	"sync"

	"github.com/klauspost/compress/flate"

	"instar/disk"
)

// A compressor writes a stream-optimized extent: each grain is a zlib stream
// (RFC 1950) behind a marker, and begins on a sector.
type compressor struct {
	*sparseWriter
	encoders sync.Pool
}

// deflateLevel is as good as zlib's default on most content, and much faster.
const deflateLevel = 5

func newCompressor(w *sparseWriter) *compressor {
	c := &compressor{sparseWriter: w}
	c.encoders.New = func() any {
		e := new(encoder)
		e.w, _ = flate.NewWriter(e, deflateLevel) // the level is a valid one
		return e
	}
	return c
}

// An encoder appends what deflate writes.
type encoder struct {
	w   *flate.Writer
	out []byte
}

func (e *encoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

// Compress always compresses: there is no other way to store a grain.
func (c *compressor) Compress(dst, unit []byte, off int64) ([]byte, error) {
	e := c.encoders.Get().(*encoder)
	defer c.encoders.Put(e)
	start := len(dst)
	e.out = binary.LittleEndian.AppendUint64(dst, uint64(off/disk.SectorSize))
	e.out = append(e.out, 0, 0, 0, 0, 0x78, 0x9c) // the length; 32 KiB of window, default level
	e.w.Reset(e)
	if _, err := e.w.Write(unit); err != nil {
		return nil, err
	}
	if err := e.w.Close(); err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint32(e.out, adler32.Checksum(unit))
	binary.LittleEndian.PutUint32(out[start+8:], uint32(len(out)-start-markerSize))
	e.out = nil
	return out, nil
}

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
