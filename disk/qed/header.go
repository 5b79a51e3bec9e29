package qed

import (
	"encoding/binary"
	"math/bits"

	"instar/disk"
)

const (
	formatName = "qed"
	magic      = "QED\x00"
	headerSize = 64 // of which the spec names 64, and which has a cluster for itself

	minCluster     = 4 << 10
	maxCluster     = 64 << 20
	maxTable       = 16 // clusters
	maxBackingName = 1023

	// Features (incompatible).
	featureBacking   = 1
	featureNeedCheck = 2
	featureRaw       = 4 // the backing file is raw, and not to be probed
	featuresKnown    = featureBacking | featureNeedCheck | featureRaw
)

// A header has the fields of the specification's "Header" that matter here.
type header struct {
	clusterSize uint32 // bytes
	tableSize   uint32 // clusters of an L1 or L2 table
	headerSize  uint32 // clusters
	features    uint64
	l1          uint64 // offset
	size        uint64 // virtual, bytes
	nameOffset  uint32
	nameLength  uint32
}

func decodeHeader(p []byte) header {
	le := binary.LittleEndian
	return header{
		clusterSize: le.Uint32(p[4:]),
		tableSize:   le.Uint32(p[8:]),
		headerSize:  le.Uint32(p[12:]),
		features:    le.Uint64(p[16:]),
		l1:          le.Uint64(p[40:]),
		size:        le.Uint64(p[48:]),
		nameOffset:  le.Uint32(p[56:]),
		nameLength:  le.Uint32(p[60:]),
	}
}

func (h *header) encode() []byte {
	le := binary.LittleEndian
	p := make([]byte, headerSize)
	copy(p, magic)
	le.PutUint32(p[4:], h.clusterSize)
	le.PutUint32(p[8:], h.tableSize)
	le.PutUint32(p[12:], h.headerSize)
	le.PutUint64(p[16:], h.features)
	le.PutUint64(p[40:], h.l1)
	le.PutUint64(p[48:], h.size)
	le.PutUint32(p[56:], h.nameOffset)
	le.PutUint32(p[60:], h.nameLength)
	return p
}

// tableBytes returns the length of a table.
func (h *header) tableBytes() int64 { return int64(h.clusterSize) * int64(h.tableSize) }

// entries returns how many entries a table has.
func (h *header) entries() int64 { return h.tableBytes() / 8 }

// most returns the greatest virtual size that QEMU allows, which runs over for
// large clusters.
func (h *header) most() uint64 {
	n := uint64(h.entries())
	return n * n * uint64(h.clusterSize)
}

func clusterSizeValid(n uint64) bool {
	return n >= minCluster && n <= maxCluster && bits.OnesCount64(n) == 1
}

func tableSizeValid(n uint64) bool { return n >= 1 && n <= maxTable && bits.OnesCount64(n) == 1 }

func (h *header) sizeValid() bool { return h.size%disk.SectorSize == 0 && h.size <= h.most() }

// check checks a header against a file of length bytes.
func (h *header) check(length int64) error {
	switch {
	case h.features&^featuresKnown != 0:
		return disk.Unsupportedf(formatName, "Unsupported QED features: %x", h.features&^featuresKnown)
	case !clusterSizeValid(uint64(h.clusterSize)):
		return disk.Corruptf(formatName, "QED cluster size is invalid")
	case !tableSizeValid(uint64(h.tableSize)):
		return disk.Corruptf(formatName, "QED table size is invalid")
	case !h.sizeValid() || h.size > 1<<62:
		return disk.Corruptf(formatName, "QED image size is invalid")
	case h.headerSize == 0:
		return disk.Corruptf(formatName, "QED header size is invalid")
	case !h.inside(h.l1, h.tableBytes(), length):
		return disk.Corruptf(formatName, "QED table offset is invalid")
	}
	return nil
}

// inside reports whether n bytes at an offset are clusters of the file behind the
// header. What is missing of the last reads as zeros.
func (h *header) inside(offset uint64, n, length int64) bool {
	return offset%uint64(h.clusterSize) == 0 &&
		offset >= uint64(h.headerSize)*uint64(h.clusterSize) &&
		offset < uint64(length) &&
		n-int64(h.clusterSize) < length-int64(offset)
}
