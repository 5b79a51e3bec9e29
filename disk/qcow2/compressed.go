package qcow2

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"

	"instar/disk"
	"instar/disk/internal/inflate"
)

var errDecompress = disk.Corruptf(formatName, "compressed cluster cannot be decompressed")

// maxBatch bounds how many bytes of compressed clusters are read in one go,
// if there are several in them.
const maxBatch = 1 << 20

// readCompressed fills p with the content at off, all of it in compressed
// clusters.
func (i *image) readCompressed(p []byte, off int64) error {
	c := cursor{image: i}
	for len(p) > 0 {
		cluster, in := off>>i.clusterBits, off&(i.clusterSize-1)
		n := min(i.clusterSize-in, int64(len(p)))
		var err error
		if n == i.clusterSize {
			n, err = c.readWhole(p[:int64(len(p))&^(i.clusterSize-1)], cluster)
		} else {
			err = c.readPart(p[:n], cluster, in)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readPart fills p with what a compressed cluster has at in.
func (c *cursor) readPart(p []byte, cluster, in int64) error {
	return c.clusters.read(p, in, cluster, func(whole []byte) error {
		_, err := c.readWhole(whole, cluster)
		return err
	})
}

// readWhole fills p, which is whole clusters, from the cluster given on, as
// far as their streams lie together. It returns how much it filled, which is
// at least one cluster.
func (c *cursor) readWhole(p []byte, cluster int64) (int64, error) {
	first, err := c.stream(cluster)
	if err != nil {
		return 0, err
	}
	streams := [64]stream{first}
	n, end := 1, first.offset+first.length
	for n < min(len(streams), len(p)>>c.clusterBits) {
		s, err := c.stream(cluster + int64(n))
		if err != nil || s.offset < first.offset || s.offset+s.length > first.offset+maxBatch {
			break
		}
		streams[n] = s
		end = max(end, s.offset+s.length)
		n++
	}
	d := c.clusters.decoders.Get().(*decoder)
	defer c.clusters.decoders.Put(d)
	src := d.buffer(int(end - first.offset))
	if err := disk.ReadStored(c.file, src, first.offset); err != nil {
		return 0, err
	}
	for k, s := range streams[:n] {
		at := s.offset - first.offset
		dst := p[int64(k)*c.clusterSize:]
		after := 0 // of dst, what is decoded next
		if k+1 < n {
			after = zstdSlack
		}
		if err := d.decode(dst[:c.clusterSize:c.clusterSize+int64(after)], src[at:at+s.length]); err != nil {
			return 0, err
		}
	}
	return int64(n) * c.clusterSize, nil
}

// A stream is where a compressed cluster is in the file: the sectors from its
// first byte on. What is in them may end before they do.
type stream struct{ offset, length int64 }

// stream finds a compressed cluster.
func (c *cursor) stream(cluster int64) (stream, error) {
	r, err := c.runAt(cluster << c.clusterBits)
	if err != nil {
		return stream{}, err
	}
	if r.kind != disk.Encoded {
		return stream{}, errDecompress // the file changes while it is read
	}
	return c.streamOf(c.entry(cluster).value), nil
}

// streamOf returns where the compressed cluster of an entry is.
func (h *header) streamOf(entry uint64) stream {
	x := 62 - (h.clusterBits - 8)
	offset := int64(entry & (1<<x - 1))
	sectors := int64(entry&(entryCompressed-1)>>x) + 1
	return stream{offset, sectors*disk.SectorSize - offset%disk.SectorSize}
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
	zstd        *zstd.Decoder
}

// buffer returns n bytes of scratch space.
func (d *decoder) buffer(n int) []byte {
	if cap(d.src) < n {
		d.src = make([]byte, n)
	}
	return d.src[:n]
}

// decode fills dst, a cluster, from the stream that src begins with. A deflate
// stream that has more to say is cut short there, as QEMU does. What is behind dst,
// up to its capacity, may be overwritten.
func (d *decoder) decode(dst, src []byte) error {
	var err error
	if d.compression == compressionZstd {
		err = d.decodeZstd(dst, src)
	} else {
		err = inflate.Raw(dst, src)
	}
	if err != nil {
		return errDecompress
	}
	return nil
}

// zstdSlack is how much room behind the content has it decoded by copies of whole
// words, whose ends are overwritten.
const zstdSlack = 16

// decodeZstd fills dst from as many frames as it takes, the last of which ends
// with dst. It may overwrite dst up to its capacity.
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
			return err
		}
		out, err := d.zstd.DecodeAll(src[:n], dst[:0])
		if err != nil {
			return err
		}
		if len(out) > len(dst) {
			return errFrame
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
