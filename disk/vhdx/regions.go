package vhdx

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"instar/disk"
)

// maxRegions is the greatest number of entries of a region table (section
// 2.2.3.1), and of a metadata table (section 2.6.1.1).
const maxRegions = 2047

// The regions that every image has (section 2.2.3.2).
var (
	regionBAT      = guid{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	regionMetadata = guid{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}
)

// A region is a part of the file.
type region struct{ start, end int64 }

// A layout is what the region table says, and what else has its place.
type layout struct {
	bat, metadata region
	taken         []region // all of them, in order: no block may be there
}

// readLayout reads the region table, or its copy if the table is not valid.
func readLayout(f disk.File, h *header) (*layout, error) {
	p := make([]byte, regionsSize)
	for _, at := range []int64{regionsAt, regionsCopyAt} {
		if err := disk.ReadStored(f, p, at); err != nil {
			return nil, err
		}
		if checked(p, "regi") {
			return parseLayout(p, h)
		}
	}
	return nil, disk.Corruptf(formatName, "No valid VHDX region table found")
}

func parseLayout(p []byte, h *header) (*layout, error) {
	le := binary.LittleEndian
	count := le.Uint32(p[8:])
	if count > maxRegions {
		return nil, disk.Corruptf(formatName, "VHDX region table of %d entries", count)
	}
	l := &layout{taken: []region{{0, mebibyte}}}
	if h.logLength > 0 {
		if h.logOffset > math.MaxInt64-h.logLength {
			return nil, disk.Corruptf(formatName, "VHDX log at offset %d", h.logOffset)
		}
		l.taken = append(l.taken, region{h.logOffset, h.logOffset + h.logLength})
	}
	for k := range count {
		if err := l.add(p[16+32*k:][:32]); err != nil {
			return nil, err
		}
	}
	if l.bat == (region{}) || l.metadata == (region{}) {
		return nil, disk.Corruptf(formatName, "VHDX region table without BAT or metadata")
	}
	slices.SortFunc(l.taken, func(a, b region) int { return cmp.Compare(a.start, b.start) })
	for k, r := range l.taken[1:] {
		if before := l.taken[k]; r.start < before.end {
			return nil, disk.Corruptf(formatName, "VHDX region %d-%d overlaps with region %d-%d", r.start, r.end, before.start, before.end)
		}
	}
	return l, nil
}

// add adds an entry of the region table.
func (l *layout) add(p []byte) error {
	le := binary.LittleEndian
	id, start, length, required := guid(p), le.Uint64(p[16:]), int64(le.Uint32(p[24:])), le.Uint32(p[28:])&1 != 0
	if start%mebibyte != 0 || length%mebibyte != 0 || length == 0 || start > uint64(math.MaxInt64-length) {
		return disk.Corruptf(formatName, "VHDX region at offset %d of %d bytes", start, length)
	}
	r := region{int64(start), int64(start) + length}
	l.taken = append(l.taken, r)
	known := map[guid]*region{regionBAT: &l.bat, regionMetadata: &l.metadata}[id]
	switch {
	case known == nil && required:
		return disk.Unsupportedf(formatName, "VHDX region %v is required and not supported", id)
	case known == nil:
		return nil
	case *known != (region{}):
		return disk.Corruptf(formatName, "VHDX region %v comes twice", id)
	}
	*known = r
	return nil
}

// free reports whether nothing else has its place in [start, end).
func (l *layout) free(start, end int64) bool {
	k, _ := slices.BinarySearchFunc(l.taken, start, func(r region, at int64) int { return cmp.Compare(r.end, at+1) })
	return k == len(l.taken) || l.taken[k].start >= end
}
