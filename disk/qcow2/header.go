package qcow2

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"instar/disk"
)

const formatName = "qcow2"

// Limits on what a header may ask for; QEMU has the same (block/qcow2.h).
const (
	minClusterBits  = 9
	maxClusterBits  = 21
	maxL1Size       = 32 << 20 // bytes
	maxReftableSize = 8 << 20  // bytes
	maxSnapshots    = 65536
	maxBackingName  = 1023 // bytes
	maxDataFileName = 4095 // bytes; a longer path opens nowhere
	v2HeaderLength  = 72   // bytes
	v3HeaderLength  = 104  // bytes
)

// Incompatible feature bits.
const (
	featureDirty       = 1 << 0
	featureCorrupt     = 1 << 1
	featureDataFile    = 1 << 2
	featureCompression = 1 << 3
	featureExtendedL2  = 1 << 4
	featuresKnown      = 1<<5 - 1
)

// Compatible and autoclear feature bits.
const (
	featureLazyRefcounts = 1 << 0 // compatible
	featureBitmaps       = 1 << 0 // autoclear
	featureDataFileRaw   = 1 << 1 // autoclear
)

// Compression types.
const (
	compressionZlib = 0
	compressionZstd = 1
)

// Header extension types.
const (
	extensionEnd           = 0
	extensionBackingFormat = 0xe2792aca
	extensionFeatureNames  = 0x6803f857
	extensionDataFile      = 0x44415441
	extensionCrypto        = 0x0537be77
	extensionBitmaps       = 0x23852875
)

// A header is the fixed part of the file header, and what its extensions say.
// Offsets and sizes are in bytes unless they are named otherwise.
type header struct {
	version          uint32
	backingOffset    uint64
	backingSize      uint32
	clusterBits      uint32
	size             uint64
	cryptMethod      uint32
	l1Entries        uint32
	l1Offset         uint64
	reftableOffset   uint64
	reftableClusters uint32
	snapshots        uint32
	snapshotsOffset  uint64
	incompatible     uint64
	compatible       uint64
	autoclear        uint64
	refcountOrder    uint32
	length           uint32
	compression      uint8
	backingFile      string
	backingFormat    string
	dataFile         string
	bitmaps          bitmapsExtension
	cryptOffset      uint64           // of the LUKS header; 0 when there is none
	cryptLength      uint64           // bytes that it has for itself
	featureNames     map[uint8]string // of incompatible features, by bit
	clusterSize      int64
	subclusters      int // in a cluster: 1, or 32 with extended L2 entries
}

func probe(head []byte) int {
	if len(head) >= 8 && string(head[:4]) == "QFI\xfb" && binary.BigEndian.Uint32(head[4:]) >= 2 {
		return 100
	}
	return 0
}

// readHeader reads and checks everything that precedes the tables.
func readHeader(f disk.File) (*header, error) {
	var p [112]byte
	if err := disk.ReadStored(f, p[:], 0); err != nil {
		return nil, err
	}
	if string(p[:4]) != "QFI\xfb" {
		return nil, disk.Corruptf(formatName, "Image is not in qcow2 format")
	}
	h := decodeHeader(p[:])
	if err := h.checkFixed(); err != nil {
		return nil, err
	}
	// Extensions and the backing file's name lie in the first cluster.
	first := make([]byte, h.clusterSize)
	if err := disk.ReadStored(f, first, 0); err != nil {
		return nil, err
	}
	if err := h.readExtensions(first); err != nil {
		return nil, err
	}
	if err := h.checkFeatures(); err != nil {
		return nil, err
	}
	if err := h.readBackingFile(first); err != nil {
		return nil, err
	}
	return h, h.checkTables()
}

func decodeHeader(p []byte) *header {
	be := binary.BigEndian
	h := &header{
		version:          be.Uint32(p[4:]),
		backingOffset:    be.Uint64(p[8:]),
		backingSize:      be.Uint32(p[16:]),
		clusterBits:      be.Uint32(p[20:]),
		size:             be.Uint64(p[24:]),
		cryptMethod:      be.Uint32(p[32:]),
		l1Entries:        be.Uint32(p[36:]),
		l1Offset:         be.Uint64(p[40:]),
		reftableOffset:   be.Uint64(p[48:]),
		reftableClusters: be.Uint32(p[56:]),
		snapshots:        be.Uint32(p[60:]),
		snapshotsOffset:  be.Uint64(p[64:]),
		refcountOrder:    4,
		length:           v2HeaderLength,
	}
	if h.version >= 3 {
		h.incompatible = be.Uint64(p[72:])
		h.compatible = be.Uint64(p[80:])
		h.autoclear = be.Uint64(p[88:])
		h.refcountOrder = be.Uint32(p[96:])
		h.length = be.Uint32(p[100:])
		if h.length > v3HeaderLength {
			h.compression = p[104]
		}
	}
	return h
}

func (h *header) checkFixed() error {
	switch {
	case h.version < 2 || h.version > 3:
		return disk.Unsupportedf(formatName, "Unsupported qcow2 version %d", h.version)
	case h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits:
		return disk.Unsupportedf(formatName, "Unsupported cluster size: 2^%d", h.clusterBits)
	case h.version == 3 && h.length < v3HeaderLength:
		return disk.Corruptf(formatName, "qcow2 header too short")
	}
	h.clusterSize = 1 << h.clusterBits
	if int64(h.length) > h.clusterSize {
		return disk.Corruptf(formatName, "qcow2 header exceeds cluster size")
	}
	if h.backingOffset > uint64(h.clusterSize) {
		return disk.Corruptf(formatName, "Invalid backing file offset")
	}
	return nil
}

// readExtensions reads the header extensions, which end where the backing
// file's name begins, or with the first cluster.
func (h *header) readExtensions(first []byte) error {
	area := first[h.length:]
	if h.backingOffset > uint64(h.length) {
		area = first[h.length:h.backingOffset]
	}
	for len(area) >= 8 {
		kind, n := binary.BigEndian.Uint32(area), binary.BigEndian.Uint32(area[4:])
		area = area[8:]
		if kind == extensionEnd {
			return nil
		}
		if uint64(n) > uint64(len(area)) {
			return disk.Corruptf(formatName, "Header extension too large")
		}
		if err := h.readExtension(kind, area[:n]); err != nil {
			return err
		}
		area = area[min(len(area), int(n+7)&^7):]
	}
	return nil
}

func (h *header) readExtension(kind uint32, data []byte) error {
	switch kind {
	case extensionBackingFormat:
		if len(data) >= 16 {
			return disk.Corruptf(formatName, "ERROR: ext_backing_format: len=%d too large (>=16)", len(data))
		}
		h.backingFormat = untilNUL(data)
	case extensionDataFile:
		h.dataFile = fileName(data)
		if len(h.dataFile) > maxDataFileName {
			return disk.Corruptf(formatName, "Data file name too long")
		}
	case extensionCrypto:
		return h.readCryptExtension(data)
	case extensionBitmaps:
		return h.readBitmapsExtension(data)
	case extensionFeatureNames:
		h.featureNames = map[uint8]string{}
		for ; len(data) >= 48; data = data[48:] {
			if data[0] == 0 { // incompatible
				h.featureNames[data[1]] = untilNUL(data[2:48])
			}
		}
	}
	return nil
}

func untilNUL(p []byte) string {
	s, _, _ := strings.Cut(string(p), "\x00")
	return s
}

// fileName returns the name of a file without the NUL bytes behind it. One
// within it stays: it is for whoever opens files to refuse such a name, and
// not for us to make another name of it.
func fileName(p []byte) string { return strings.TrimRight(string(p), "\x00") }

func (h *header) checkFeatures() error {
	if unknown := h.incompatible &^ featuresKnown; unknown != 0 {
		return disk.Unsupportedf(formatName, "Unsupported qcow2 feature(s): %s", h.nameFeatures(unknown))
	}
	zlib, marked := h.compression == compressionZlib, h.incompatible&featureCompression != 0
	switch {
	case h.compression > compressionZstd:
		return disk.Unsupportedf(formatName, "qcow2: unknown compression type: %d", h.compression)
	case !zlib && !marked:
		return disk.Corruptf(formatName, "qcow2: Compression type incompatible feature bit must be set")
	case zlib && marked:
		return disk.Corruptf(formatName, "qcow2: Compression type incompatible feature bit must not be set")
	case h.refcountOrder > 6:
		return disk.Corruptf(formatName, "Reference count entry width too large; may not exceed 64 bits")
	}
	h.subclusters = 1
	if h.incompatible&featureExtendedL2 != 0 {
		h.subclusters = 32
		if h.clusterSize/32 < disk.SectorSize {
			return disk.Unsupportedf(formatName, "Unsupported subcluster size: %d", h.clusterSize/32)
		}
	}
	if h.cryptMethod > cryptLUKS {
		return disk.Unsupportedf(formatName, "Unsupported encryption method %d", h.cryptMethod)
	}
	return nil
}

// checkContent returns why the content of an image whose tables are sound
// cannot be read.
func (h *header) checkContent() error {
	switch {
	case h.incompatible&featureCorrupt != 0:
		return disk.Corruptf(formatName, "Image is marked corrupt; repair a copy with qemu-img check -r all first")
	case h.hasDataFile() && h.dataFile == "":
		return disk.Corruptf(formatName, "'data-file' is required for this image")
	case !h.hasDataFile() && h.autoclear&featureDataFileRaw != 0:
		return disk.Corruptf(formatName, "data-file-raw requires a data file")
	}
	return nil
}

func (h *header) hasDataFile() bool { return h.incompatible&featureDataFile != 0 }

// nameFeatures names incompatible features as the image does, and those that
// it does not name by their bits.
func (h *header) nameFeatures(features uint64) string {
	var names []string
	for bit := range uint8(64) {
		if name, ok := h.featureNames[bit]; ok && features&(1<<bit) != 0 {
			names = append(names, name)
			features &^= 1 << bit
		}
	}
	if features != 0 {
		names = append(names, fmt.Sprintf("Unknown incompatible feature: %x", features))
	}
	return strings.Join(names, ", ")
}

func (h *header) readBackingFile(first []byte) error {
	if h.backingOffset == 0 {
		return nil
	}
	if uint64(h.backingSize) > min(maxBackingName, uint64(h.clusterSize)-h.backingOffset) {
		return disk.Corruptf(formatName, "Backing file name too long")
	}
	h.backingFile = fileName(first[h.backingOffset:][:h.backingSize])
	return nil
}

// checkTables checks where the tables are and how long they may be. None of
// them is read here.
func (h *header) checkTables() error {
	if h.reftableClusters == 0 {
		return disk.Corruptf(formatName, "Image does not contain a reference count table")
	}
	refEntries := uint64(h.reftableClusters) * uint64(h.clusterSize/8)
	if err := h.checkTable("Reference count table", h.reftableOffset, refEntries, maxReftableSize/8); err != nil {
		return err
	}
	if err := h.checkTable("Snapshot table", h.snapshotsOffset, uint64(h.snapshots), maxSnapshots); err != nil {
		return err
	}
	if err := h.checkTable("Active L1 table", h.l1Offset, uint64(h.l1Entries), maxL1Size/8); err != nil {
		return err
	}
	// QEMU counts L1 entries in an int, and keeps room for the state of a
	// virtual machine behind the disk.
	need := h.l1Needed(h.size)
	if h.size > math.MaxInt64-uint64(disk.SectorSize) || need > math.MaxInt32 {
		return disk.Corruptf(formatName, "Image is too big")
	}
	if uint64(h.l1Entries) < need {
		return disk.Corruptf(formatName, "L1 table is too small")
	}
	return nil
}

// checkTable checks a table of entries of eight bytes or more at offset.
func (h *header) checkTable(name string, offset, entries, most uint64) error {
	if entries > most {
		return disk.Corruptf(formatName, "%s too large", name)
	}
	if offset > math.MaxInt64-entries*8 || offset%uint64(h.clusterSize) != 0 {
		return disk.Corruptf(formatName, "%s offset invalid", name)
	}
	return nil
}

// l2Bits returns the binary logarithm of the number of entries of an L2 table.
func (h *header) l2Bits() uint32 {
	if h.subclusters > 1 {
		return h.clusterBits - 4
	}
	return h.clusterBits - 3
}

// l1Needed returns how many L1 entries a disk of size bytes takes.
func (h *header) l1Needed(size uint64) uint64 {
	shift := h.clusterBits + h.l2Bits()
	n := size >> shift
	if size&(1<<shift-1) != 0 {
		n++
	}
	return n
}
