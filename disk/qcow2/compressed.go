package qcow2

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"instar/disk"
)

var errDecompress = disk.Corruptf(formatName, "compressed cluster cannot be decompressed")

// readCompressed fills p with the content at off, all of it in compressed
// clusters.
func (i *image) readCompressed(p []byte, off int64) error {
	c := cursor{image: i}
	for len(p) > 0 {
		cluster, in := off>>i.clusterBits, off&(i.clusterSize-1)
		r, err := c.runAt(off)
		if err != nil {
			return err
		}
		n := min(r.length, int64(len(p)))
		src, length := i.compressedAt(c.entry(cluster))
		if n == i.clusterSize {
			err = i.inflate(p[:n], src, length)
		} else {
			err = i.clusters.read(p[:n], in, cluster, func(whole []byte) error { return i.inflate(whole, src, length) })
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// compressedAt decodes the descriptor of a compressed cluster: where its
// sectors are in the file, and how many bytes there are from there to the end
// of the last one. The stream may end before.
func (i *image) compressedAt(e l2Entry) (off, length int64) {
	x := 62 - (i.clusterBits - 8)
	off = int64(e.value & (1<<x - 1))
	sectors := int64(e.value&(entryCompressed-1)>>x) + 1
	return off, sectors*disk.SectorSize - off%disk.SectorSize
}

// inflate reads a compressed cluster and fills p, which is a cluster, with its
// content.
func (i *image) inflate(p []byte, off, length int64) error {
	d := i.clusters.decoders.Get().(*decoder)
	defer i.clusters.decoders.Put(d)
	src := d.buffer(int(length))
	if err := disk.ReadStored(i.file, src, off); err != nil {
		return err
	}
	return d.decode(p, src)
}

// A clusterCache keeps the clusters decompressed last, for reads of less than
// a cluster, and the decoders that are idle.
type clusterCache struct {
	clusterSize int64
	slots       []clusterSlot
	decoders    sync.Pool
}

type clusterSlot struct {
	mu      sync.Mutex
	valid   bool
	cluster int64
	data    []byte // nil until used
}

// clusterCacheSize bounds a cluster cache, in bytes.
const clusterCacheSize = 4 << 20

func newClusterCache(clusterSize int64, compression uint8) *clusterCache {
	c := &clusterCache{clusterSize: clusterSize, slots: make([]clusterSlot, min(16, clusterCacheSize/clusterSize))}
	c.decoders.New = func() any { return &decoder{compression: compression} }
	return c
}

// read copies the content at in of a cluster to p. Where it is not at hand,
// fill makes it, in a slice of a whole cluster.
func (c *clusterCache) read(p []byte, in, cluster int64, fill func([]byte) error) error {
	s := &c.slots[cluster%int64(len(c.slots))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.valid || s.cluster != cluster {
		s.valid = false
		if s.data == nil {
			s.data = make([]byte, c.clusterSize)
		}
		if err := fill(s.data); err != nil {
			return err
		}
		s.valid, s.cluster = true, cluster
	}
	copy(p, s.data[in:])
	return nil
}

// A decoder decompresses one cluster at a time. Not for concurrent use.
type decoder struct {
	compression uint8
	src         []byte
	reader      bytes.Reader
	deflate     io.ReadCloser
	zstd        *zstd.Decoder
}

// buffer returns n bytes of scratch space.
func (d *decoder) buffer(n int) []byte {
	if cap(d.src) < n {
		d.src = make([]byte, n)
	}
	return d.src[:n]
}

// decode fills dst from the stream that src begins with.
func (d *decoder) decode(dst, src []byte) error {
	if d.compression == compressionZstd {
		return d.decodeZstd(dst, src)
	}
	return d.decodeDeflate(dst, src)
}

// decodeDeflate fills dst; a stream that has more to say is cut short there,
// as QEMU does.
func (d *decoder) decodeDeflate(dst, src []byte) error {
	d.reader.Reset(src)
	if d.deflate == nil {
		d.deflate = flate.NewReader(&d.reader)
	} else if err := d.deflate.(flate.Resetter).Reset(&d.reader, nil); err != nil {
		return err
	}
	if _, err := io.ReadFull(d.deflate, dst); err != nil {
		return errDecompress
	}
	return nil
}

// decodeZstd fills dst from as many frames as it takes, the last of which ends
// with dst.
func (d *decoder) decodeZstd(dst, src []byte) error {
	if d.zstd == nil {
		var err error
		if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return err
		}
	}
	for len(dst) > 0 {
		n, err := zstdFrameLength(src)
		if err != nil {
			return errDecompress
		}
		out, err := d.zstd.DecodeAll(src[:n], dst[:0:len(dst)])
		if err != nil {
			return errDecompress
		}
		dst, src = dst[len(out):], src[n:]
	}
	return nil
}

var errFrame = errors.New("invalid zstd frame")

// zstdFrameLength returns the length in bytes of the frame that src begins
// with (RFC 8878, 3.1).
func zstdFrameLength(src []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return 0, err
	}
	if h.Skippable {
		n := uint64(h.HeaderSize) + uint64(h.SkippableSize)
		if n > uint64(len(src)) {
			return 0, errFrame
		}
		return int(n), nil
	}
	n := h.HeaderSize
	for last := false; !last; {
		if len(src)-n < 3 {
			return 0, errFrame
		}
		block := int(src[n]) | int(src[n+1])<<8 | int(src[n+2])<<16
		last = block&1 != 0
		n += 3
		if block>>1&3 == 1 { // one byte, repeated
			n++
		} else {
			n += block >> 3
		}
		if n > len(src) {
			return 0, errFrame
		}
	}
	if h.HasCheckSum {
		n += 4
	}
	if n > len(src) {
		return 0, errFrame
	}
	return n, nil
}
