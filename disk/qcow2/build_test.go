package qcow2_test

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"instar/disk"
	"instar/disk/qcow2"
)

// A builder lays out a qcow2 image by hand: header, reference count table and
// L1 table in clusters 0 to 2 (and more for a long L1 table), then what the
// test adds.
type builder struct {
	bits    uint
	version int
	zstd    bool
	extend  bool // extended L2 entries
	size    uint64
	image   []byte
	l1      int64 // offset
	entries int64 // of L1
}

// Offsets of header fields.
const (
	atVersion, atBackingOffset, atBackingSize, atClusterBits, atSize          = 4, 8, 16, 20, 24
	atCrypt, atL1Size, atL1Offset, atReftableOffset, atReftableClusters       = 32, 36, 40, 48, 56
	atSnapshots, atSnapshotsOffset, atIncompatible, atCompatible, atAutoclear = 60, 64, 72, 80, 88
	atRefcountOrder, atHeaderLength, atCompression, atExtensions              = 96, 100, 104, 112
)

const (
	flagCopied     = 1 << 63
	flagCompressed = 1 << 62
	flagZero       = 1
)

// build begins an image.
func (b builder) build() *builder {
	if b.version == 0 {
		b.version = 3
	}
	if b.bits == 0 {
		b.bits = 16
	}
	b.entries = int64(b.size>>(b.bits+b.l2Bits())) + 1
	copy(b.at(0, 4), "QFI\xfb")
	b.put32(atVersion, uint32(b.version))
	b.put32(atClusterBits, uint32(b.bits))
	b.put64(atSize, b.size)
	b.put32(atReftableClusters, 1)
	b.put64(atReftableOffset, 1<<b.bits)
	b.at(2<<b.bits, 0)
	b.l1 = b.add(make([]byte, b.entries*8))
	b.put32(atL1Size, uint32(b.entries))
	b.put64(atL1Offset, uint64(b.l1))
	if b.version >= 3 {
		b.put32(atRefcountOrder, 4)
		b.put32(atHeaderLength, 112)
		if b.zstd {
			b.image[atCompression] = 1
			b.image[atIncompatible+7] |= 1 << 3
		}
		if b.extend {
			b.image[atIncompatible+7] |= 1 << 4
		}
	}
	return &b
}

func (b *builder) l2Bits() uint {
	if b.extend {
		return b.bits - 4
	}
	return b.bits - 3
}

// at returns the n bytes at off, and lengthens the image as it takes.
func (b *builder) at(off, n int64) []byte {
	if grow := off + n - int64(len(b.image)); grow > 0 {
		b.image = append(b.image, make([]byte, grow)...)
	}
	return b.image[off:][:n]
}

func (b *builder) put32(off int64, v uint32) { binary.BigEndian.PutUint32(b.at(off, 4), v) }
func (b *builder) put64(off int64, v uint64) { binary.BigEndian.PutUint64(b.at(off, 8), v) }

// add appends p in clusters of its own and returns where it is.
func (b *builder) add(p []byte) int64 {
	cluster := int64(1) << b.bits
	off := (int64(len(b.image)) + cluster - 1) &^ (cluster - 1)
	copy(b.at(off, (int64(len(p))+cluster-1)&^(cluster-1)), p)
	return off
}

// entry returns the offset of the L2 entry of a cluster, and makes the table.
func (b *builder) entry(cluster int64) int64 {
	index, in := cluster>>b.l2Bits(), cluster&(1<<b.l2Bits()-1)
	at := b.l1 + index*8
	table := int64(binary.BigEndian.Uint64(b.at(at, 8)) &^ flagCopied)
	if table == 0 {
		table = b.add(make([]byte, 1<<b.bits))
		b.put64(at, uint64(table)|flagCopied)
	}
	if b.extend {
		return table + in*16
	}
	return table + in*8
}

// set sets the L2 entry of a cluster.
func (b *builder) set(cluster int64, value uint64) { b.put64(b.entry(cluster), value) }

// data stores a cluster.
func (b *builder) data(cluster int64, p []byte) { b.set(cluster, uint64(b.add(p))|flagCopied) }

// packed stores the stream of a compressed cluster at the end of the image,
// at any byte.
func (b *builder) packed(cluster int64, stream []byte) {
	b.packedSectors(cluster, stream, (len(b.image)%512+len(stream)-1)/512)
}

// packedSectors is packed with the given number of additional sectors.
func (b *builder) packedSectors(cluster int64, stream []byte, sectors int) {
	e := b.entry(cluster) // before the end of the image is looked at
	off := int64(len(b.image))
	copy(b.at(off, int64(len(stream))), stream)
	b.put64(e, flagCompressed|uint64(sectors)<<(62-(b.bits-8))|uint64(off))
}

// count gives each cluster that there is a reference count of 1, in clusters of
// refcounts that are added.
func (b *builder) count() {
	block := b.add(make([]byte, 1<<b.bits))
	for k := range int64(len(b.image)) >> b.bits {
		b.setCount(block, k<<b.bits, 1)
	}
	b.put64(1<<b.bits, uint64(block))
}

// setCount sets the reference count of the cluster at an offset, of 16 bits, in the
// one refcount block.
func (b *builder) setCount(block, off int64, n uint16) {
	binary.BigEndian.PutUint16(b.at(block+off>>b.bits*2, 2), n)
}

func (b *builder) open(o disk.OpenOptions) (disk.Image, error) {
	return qcow2.Format.Open(disk.NewFile(bytes.NewReader(b.image), int64(len(b.image))), o)
}

func deflated(p []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriterWindow(&out, 4096)
	if err == nil {
		_, err = w.Write(p)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

func zstded(p []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(p, nil)
}
