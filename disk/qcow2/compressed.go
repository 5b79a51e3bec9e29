package qcow2

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"instar/disk"
	"instar/disk/internal/inflate"
)

var errDecompress = disk.Corruptf(formatName, "compressed cluster cannot be decompressed")

// Bounds of what is read for several compressed clusters in one go.
const (
	maxBatch   = 1 << 20   // bytes of their streams
	maxStreams = 256       // of them
	maxGap     = 256 << 10 // bytes between two streams that are read along with them
	maxGaps    = 1 << 20   // bytes of all those
)

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
// far as one batch goes. It returns how much it filled, which is at least one
// cluster.
func (c *cursor) readWhole(p []byte, cluster int64) (int64, error) {
	d := c.clusters.decoders.Get().(*decoder)
	defer c.clusters.decoders.Put(d)
	if err := c.gather(d, cluster, len(p)>>c.clusterBits); err != nil {
		return 0, err
	}
	if err := c.readBatch(d); err != nil {
		return 0, err
	}
	for k, s := range d.streams {
		dst := p[int64(k)*c.clusterSize:]
		after := 0 // of dst, what is decoded next
		if k+1 < len(d.streams) {
			after = zstdSlack
		}
		if err := d.decode(dst[:c.clusterSize:c.clusterSize+int64(after)], d.src[s.at:s.at+s.length]); err != nil {
			return 0, err
		}
	}
	return int64(len(d.streams)) * c.clusterSize, nil
}

// gather finds the streams of up to n clusters from the one given on, of which
// there is at least one.
func (c *cursor) gather(d *decoder, cluster int64, n int) error {
	first, err := c.stream(cluster)
	if err != nil {
		return err
	}
	d.streams = append(d.streams[:0], first)
	for total := first.length; len(d.streams) < min(n, maxStreams); {
		s, err := c.stream(cluster + int64(len(d.streams)))
		if total += s.length; err != nil || total > maxBatch {
			break // it is the first of another batch
		}
		d.streams = append(d.streams, s)
	}
	return nil
}

// readBatch reads the streams of a batch. Those that lie close together are read as
// one, whatever their order: who compresses with several threads stores clusters
// as they get ready.
func (c *cursor) readBatch(d *decoder) error {
	d.order = d.order[:0]
	for k := range d.streams {
		d.order = append(d.order, &d.streams[k])
	}
	slices.SortFunc(d.order, func(a, b *stream) int { return cmp.Compare(a.offset, b.offset) })
	d.src = d.src[:0]
	gaps := int64(0)
	for list := d.order; len(list) > 0; {
		first, n := list[0], 0
		end, at := first.offset, len(d.src)
		for n < len(list) {
			s := list[n]
			gap := max(s.offset-end, 0)
			if gap > maxGap || gaps+gap > maxGaps {
				break
			}
			gaps += gap
			s.at = int64(at) + s.offset - first.offset
			end = max(end, s.offset+s.length)
			n++
		}
		d.src = slices.Grow(d.src, int(end-first.offset))[:at+int(end-first.offset)]
		if err := disk.ReadStored(c.file, d.src[at:], first.offset); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// A stream is where a compressed cluster is in the file: the sectors from its
// first byte on. What is in them may end before they do.
type stream struct {
	offset, length int64
	at             int64 // in what was read for a batch
}

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
	return stream{offset: offset, length: sectors*disk.SectorSize - offset%disk.SectorSize}
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

// A decoder decompresses the clusters of a batch. Not for concurrent use.
type decoder struct {
	compression uint8
	streams     []stream
	order       []*stream // the streams, by offset
	src         []byte    // what was read for them
	zstd        *zstd.Decoder
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
