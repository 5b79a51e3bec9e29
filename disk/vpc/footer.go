package vpc

import (
	"encoding/binary"
	"fmt"
	"math"

	"instar/disk"
)

const (
	formatName = "vpc"
	cookie     = "conectix"
	footerSize = 512

	// Values of the disk type field.
	typeFixed        = 2
	typeDynamic      = 3
	typeDifferencing = 4

	// The greatest geometry that the footer can hold, in sectors. A disk that
	// has it may be larger.
	maxGeometry = 65535 * 16 * 255

	// QEMU's limit (block/vpc.c).
	maxSize = 2040 << 30
)

// A footer is the hard disk footer (specification, "Hard Disk Footer Format").
type footer struct {
	dataOffset  uint64 // of the dynamic disk header, in bytes
	creator     [4]byte
	currentSize uint64 // bytes
	geometry    int64  // cylinders * heads * sectors per track
	diskType    uint32
	uniqueID    [16]byte
	stored      [footerSize]byte
}

// readFooter reads the footer: its copy at the start of the file or, for a
// fixed disk, the one at its end.
func readFooter(f disk.File) (*footer, error) {
	var p [footerSize]byte
	if err := disk.ReadStored(f, p[:], 0); err != nil {
		return nil, err
	}
	atStart := string(p[:8]) == cookie
	if !atStart {
		if err := readLast(f, p[:]); err != nil {
			return nil, err
		}
	}
	h := parseFooter(p[:])
	switch fixed := h.diskType == typeFixed; {
	case string(p[:8]) != cookie || fixed == atStart:
		return nil, disk.Corruptf(formatName, "invalid VPC image")
	case !sealed(p[:], footerSum):
		return nil, disk.Corruptf(formatName, "Incorrect header checksum")
	case atStart && h.diskType != typeDynamic && h.diskType != typeDifferencing:
		return nil, disk.Unsupportedf(formatName, "VHD of type %d is not supported", h.diskType)
	case h.size() > maxSize:
		return nil, disk.Corruptf(formatName, "File too large")
	}
	return h, nil
}

// readLast fills p with the last sector of f, which counts as rounded up to
// whole sectors.
func readLast(f disk.File, p []byte) error {
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("get the size of the file: %w", err)
	}
	if size <= 0 {
		return disk.Corruptf(formatName, "File too small for a VHD header")
	}
	return disk.ReadStored(f, p, (size-1)/disk.SectorSize*disk.SectorSize)
}

func parseFooter(p []byte) *footer {
	be := binary.BigEndian
	return &footer{
		dataOffset:  be.Uint64(p[16:]),
		creator:     [4]byte(p[28:]),
		currentSize: be.Uint64(p[48:]),
		geometry:    int64(be.Uint16(p[56:])) * int64(p[58]) * int64(p[59]),
		diskType:    be.Uint32(p[60:]),
		uniqueID:    [16]byte(p[68:]),
		stored:      [footerSize]byte(p),
	}
}

// Where the checksums are.
const (
	footerSum  = 64 // of a footer
	dynamicSum = 36 // of a dynamic disk header
)

// checksum returns the one's complement of the sum of all bytes of p but those of
// the checksum itself, which is at an offset.
func checksum(p []byte, at int) uint32 {
	var sum uint32
	for i, b := range p {
		if i < at || i >= at+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// sealed reports whether p has the right checksum at an offset.
func sealed(p []byte, at int) bool {
	return binary.BigEndian.Uint32(p[at:]) == checksum(p, at)
}

// size returns the virtual size in bytes. Virtual PC and QEMU mean the
// geometry by it, all others the size field; a geometry that is the greatest
// possible says nothing. It is more than maxSize when that is exceeded.
func (h *footer) size() int64 {
	app := string(h.creator[:])
	if (app == "vpc " || app == "qemu") && h.geometry != maxGeometry {
		return h.geometry * disk.SectorSize
	}
	return int64(min(h.currentSize, math.MaxInt64)) / disk.SectorSize * disk.SectorSize
}
