package qcow2

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"

	"instar/disk"
	"instar/disk/internal/deflate"
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
	w.shares, w.stored = map[int64][]byte{}, map[int64]bool{}
	return &compressor{writer: w}, nil
}

// A refuser takes the place of a compressor where there is an external data
// file: QEMU finds that nothing can be compressed then when something is to be.
type refuser struct{ *writer }

var errCompressedDataFile = errors.New("Operation not supported") //nolint:staticcheck // qemu-img's text

func (r *refuser) Compress(dst, _ []byte, _ int64) ([]byte, error) { return append(dst, 0), nil }
func (r *refuser) PlaceCompressed(_, _ int64) (int64, error)       { return 0, errCompressedDataFile }
func (r *refuser) Finish() error                                   { return errCompressedDataFile }

// Compress compresses a cluster; what lies behind the end of the disk is zeros.
func (c *compressor) Compress(dst, unit []byte, _ int64) ([]byte, error) {
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
	if err != nil || int64(len(out)-len(dst)) >= c.clusterSize {
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
	return deflateEncoder{deflate.New(zlibWindow, deflate.LevelFor(c.best))}, nil
}

type zstdEncoder struct{ *zstd.Encoder }

func (e zstdEncoder) encode(dst, p []byte) ([]byte, error) { return e.EncodeAll(p, dst), nil }

type deflateEncoder struct{ *deflate.Encoder }

func (e deflateEncoder) encode(dst, p []byte) ([]byte, error) { return e.Append(dst, p), nil }

// PlaceCompressed puts n bytes right behind the last compressed cluster if it
// can, else at the start of a cluster of the file. What is not compressed may
// have come between: the cluster that the last one ends in has room all the same.
func (c *compressor) PlaceCompressed(off, n int64) (int64, error) {
	if err := c.load(off / c.span); err != nil {
		return 0, err
	}
	at, end := c.tail, c.tail+n
	fits := at%c.clusterSize != 0 && at/c.clusterSize == (end-1)/c.clusterSize
	if !fits {
		first, err := c.alloc(1)
		if err != nil {
			return 0, err
		}
		if at%c.clusterSize == 0 || first != at/c.clusterSize+1 {
			at = first * c.clusterSize
		}
	}
	for cluster := at / c.clusterSize; cluster <= (at+n-1)/c.clusterSize; cluster++ {
		if err := c.share(cluster); err != nil {
			return 0, err
		}
	}
	// Another one may follow in the cluster that this one ends in.
	if c.tail = at + n; c.shared((c.tail-1)/c.clusterSize) == c.mostShared() {
		c.tail = 0
	}
	c.reach((at + n + disk.SectorSize - 1) / disk.SectorSize * disk.SectorSize)
	x := 62 - (c.clusterBits - 8)
	sectors := uint64((at+n-1)/disk.SectorSize - at/disk.SectorSize)
	c.setEntry(off, entryCompressed|sectors<<x|uint64(at))
	return at, nil
}

// mostShared is the greatest refcount, all ones also with 64 bits.
func (c *compressor) mostShared() uint64 { return 1<<(1<<c.refcountOrder) - 1 }

// shared returns how many compressed clusters are in a cluster of the file.
func (c *compressor) shared(cluster int64) uint64 {
	block := c.shares[cluster/c.refsPerBlock]
	if block == nil {
		return 0
	}
	return refcount(block, c.refcountOrder, cluster%c.refsPerBlock)
}

// share counts another compressed cluster in a cluster of the file. Refcount
// blocks that nothing more is counted in are written.
func (c *compressor) share(cluster int64) error {
	block := cluster / c.refsPerBlock
	if c.shares[block] == nil {
		if err := c.storeShares(block - 1); err != nil {
			return err
		}
		c.shares[block] = make([]byte, c.clusterSize)
	}
	setRefcount(c.shares[block], c.refcountOrder, cluster%c.refsPerBlock, c.shared(cluster)+1)
	return nil
}

// storeShares writes the refcount blocks before end that are complete.
func (c *compressor) storeShares(end int64) error {
	for block := range c.shares {
		if block >= end || c.stored[block] || !c.isUsed(block) {
			continue
		}
		p := make([]byte, c.clusterSize)
		c.encodeRefcounts(p, block)
		if err := c.write(p, c.blocks[block]*c.clusterSize); err != nil {
			return err
		}
		c.stored[block] = true
		delete(c.shares, block)
	}
	return nil
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
