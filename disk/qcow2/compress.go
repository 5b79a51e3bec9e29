package qcow2

import (
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"instar/disk"
)

// A compressor is a writer whose clusters are stored compressed, one behind the
// other; a cluster of the file then holds parts of several.
type compressor struct {
	*writer
	encoders sync.Pool
}

// zlibWindow is the window of qcow2's deflate streams in bytes: readers inflate
// with 12 bits.
const zlibWindow = 4096

// An encoder appends the compressed form of p to dst.
type encoder interface {
	encode(dst, p []byte) ([]byte, error)
}

func newCompressor(w *writer) (*compressor, error) {
	if w.version < 3 && w.compression != compressionZlib {
		return nil, disk.Unsupportedf(formatName, "compression type %d needs version 3", w.compression)
	}
	return &compressor{writer: w}, nil
}

// Compress compresses a cluster; what lies behind the end of the disk is zeros.
func (c *compressor) Compress(dst, unit []byte) ([]byte, error) {
	e, _ := c.encoders.Get().(encoder)
	if e == nil {
		var err error
		if e, err = c.newEncoder(); err != nil {
			return nil, err
		}
	}
	defer c.encoders.Put(e)
	if short := c.clusterSize - int64(len(unit)); short > 0 {
		unit = append(append(make([]byte, 0, c.clusterSize), unit...), make([]byte, short)...)
	}
	out, err := e.encode(dst, unit)
	// The length is stored in sectors, with one bit less than a cluster's.
	if err != nil || int64(len(out)-len(dst)) >= c.clusterSize-disk.SectorSize {
		return nil, err
	}
	return out, nil
}

func (c *compressor) newEncoder() (encoder, error) {
	if c.compression == compressionZstd {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(max(int(c.clusterSize), zstd.MinWindowSize)))
		return zstdEncoder{e}, err
	}
	e := &flateEncoder{}
	var err error
	e.w, err = flate.NewWriterWindow(e, zlibWindow)
	return e, err
}

type zstdEncoder struct{ *zstd.Encoder }

func (e zstdEncoder) encode(dst, p []byte) ([]byte, error) { return e.EncodeAll(p, dst), nil }

type flateEncoder struct {
	w   *flate.Writer
	out []byte
}

func (e *flateEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

func (e *flateEncoder) encode(dst, p []byte) ([]byte, error) {
	e.out = dst
	e.w.Reset(e)
	if _, err := e.w.Write(p); err != nil {
		return nil, err
	}
	if err := e.w.Close(); err != nil {
		return nil, err
	}
	out := e.out
	e.out = nil
	return out, nil
}

// PlaceCompressed puts n bytes right behind the last compressed cluster if it
// can, else at the start of a cluster of the file.
func (c *compressor) PlaceCompressed(off, n int64) (int64, error) {
	if err := c.load(off / (c.clusterSize / c.entrySize * c.clusterSize)); err != nil {
		return 0, err
	}
	at, end := c.tail, c.tail+n
	fits := at%c.clusterSize != 0 && at/c.clusterSize == (end-1)/c.clusterSize
	if !fits {
		first, err := c.alloc(1)
		if err != nil {
			return 0, err
		}
		if at%c.clusterSize == 0 || first != at/c.clusterSize+1 || !c.mayShare(at/c.clusterSize) {
			at = first * c.clusterSize
		}
	}
	if at%c.clusterSize != 0 {
		c.share(at / c.clusterSize)
	}
	// Another one may follow in the cluster that this one ends in.
	if c.tail = at + n; !c.mayShare((c.tail - 1) / c.clusterSize) {
		c.tail = 0
	}
	x := 62 - (c.clusterBits - 8)
	sectors := uint64((at+n-1)/disk.SectorSize - at/disk.SectorSize)
	c.setEntry(off/c.clusterSize, entryCompressed|sectors<<x|uint64(at))
	return at, nil
}

// mayShare reports whether a cluster of the file can be counted once more: its
// refcount block is the current one, and has room for the number.
func (c *compressor) mayShare(cluster int64) bool {
	index := cluster - int64(len(c.blocks)-1)*c.refsPerBlock()
	most := uint64(1)<<(1<<c.refcountOrder) - 1 // all ones, also for 64 bits
	return index >= 0 && refcount(c.counts, c.refcountOrder, index) < most
}

// share counts another compressed cluster in a cluster of the file.
func (c *compressor) share(cluster int64) {
	index := cluster - int64(len(c.blocks)-1)*c.refsPerBlock()
	setRefcount(c.counts, c.refcountOrder, index, refcount(c.counts, c.refcountOrder, index)+1)
}

// refcount returns an entry of a refcount block.
func refcount(block []byte, order uint32, index int64) uint64 {
	if order < 3 {
		width := int64(1) << order
		return uint64(block[index*width/8]>>(index*width%8)) & (1<<width - 1)
	}
	n := uint64(0)
	for _, b := range block[index<<(order-3) : (index+1)<<(order-3)] {
		n = n<<8 | uint64(b)
	}
	return n
}
