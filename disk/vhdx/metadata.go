package vhdx

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"instar/disk"
	"instar/disk/internal/winpath"
)

// Known metadata items (section 2.6.2) and their lengths.
var (
	itemParameters     = guid{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	itemSize           = guid{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	itemDiskID         = guid{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}
	itemLogicalSector  = guid{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}
	itemPhysicalSector = guid{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}
	itemParentLocator  = guid{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}

	// The one type of parent locator there is (section 2.6.2.6.3).
	locatorVHDX = guid{0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13}
)

const (
	metadataTable = 64 << 10 // bytes; items come behind it
	maxItem       = 1 << 20  // bytes

	// Flags of an entry.
	flagVirtualDisk = 1 << 1
	flagRequired    = 1 << 2

	// Flags of the parameters.
	flagLeaveAllocated = 1 << 0 // the disk is fixed
	flagHasParent      = 1 << 1

	minBlock = 1 << 20
	maxBlock = 256 << 20
	maxSize  = 64 << 40
)

// A metadata is what the metadata region says about the disk.
type metadata struct {
	block         int64 // bytes
	size          int64 // bytes
	logicalSector int64 // bytes
	fixed         bool
	parent        *disk.Reference
	kept          keptItems
}

// keptItems are those that a disk keeps when it is laid out anew.
type keptItems struct{ id, physicalSector []byte }

// items holds the known items by their ID.
type items map[guid][]byte

// readMetadata reads the metadata region.
func readMetadata(f disk.File, r region) (*metadata, error) {
	found, err := readItems(f, r)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	parameters := found[itemParameters]
	block, flags := le.Uint32(parameters), le.Uint32(parameters[4:])
	size, sector := le.Uint64(found[itemSize]), le.Uint32(found[itemLogicalSector])
	switch {
	case block < minBlock || block > maxBlock || bits.OnesCount32(block) != 1:
		return nil, disk.Corruptf(formatName, "Invalid block size %d", block)
	case sector != 512 && sector != 4096:
		return nil, disk.Corruptf(formatName, "Invalid logical sector size %d", sector)
	case size > maxSize || size%uint64(sector) != 0:
		return nil, disk.Corruptf(formatName, "Invalid virtual disk size %d", size)
	}
	m := &metadata{
		block: int64(block), size: int64(size), logicalSector: int64(sector), fixed: flags&flagLeaveAllocated != 0,
		kept: keptItems{found[itemDiskID][:16], found[itemPhysicalSector][:4]},
	}
	if flags&flagHasParent != 0 {
		m.parent, err = parseLocator(found[itemParentLocator])
	}
	return m, err
}

// readItems reads the metadata table (section 2.6.1) and the items that are
// known here. Those that every image has are as long as they must be.
func readItems(f disk.File, r region) (items, error) {
	le := binary.LittleEndian
	table := make([]byte, metadataTable)
	if err := disk.ReadStored(f, table, r.start); err != nil {
		return nil, err
	}
	count := le.Uint16(table[10:])
	if string(table[:8]) != "metadata" || count > maxRegions {
		return nil, disk.Corruptf(formatName, "VHDX metadata table is invalid")
	}
	lengths := map[guid]uint32{
		itemParameters: 8, itemSize: 8, itemDiskID: 16, itemLogicalSector: 4, itemPhysicalSector: 4, itemParentLocator: 0,
	}
	found := items{}
	for k := range count {
		e := table[32+32*int(k):][:32]
		id, offset, length, flags := guid(e), le.Uint32(e[16:]), le.Uint32(e[20:]), le.Uint32(e[24:])
		least, known := lengths[id]
		_, again := found[id]
		switch {
		case !known && flags&flagRequired != 0:
			return nil, disk.Unsupportedf(formatName, "VHDX metadata item %v is required and not supported", id)
		case !known:
			continue
		case again:
			return nil, disk.Corruptf(formatName, "VHDX metadata item %v comes twice", id)
		case length > maxItem || length < least || offset < metadataTable || int64(offset)+int64(length) > r.end-r.start:
			return nil, disk.Corruptf(formatName, "VHDX metadata item %v at offset %d of %d bytes", id, offset, length)
		}
		found[id] = make([]byte, length)
		if err := disk.ReadStored(f, found[id], r.start+int64(offset)); err != nil {
			return nil, err
		}
	}
	for id, length := range lengths {
		if length > 0 && found[id] == nil {
			return nil, disk.Corruptf(formatName, "VHDX metadata item %v is missing", id)
		}
	}
	return found, nil
}

// parseLocator reads a parent locator (section 2.6.2.6): keys and values in
// UTF-16, anywhere in the item.
func parseLocator(p []byte) (*disk.Reference, error) {
	le := binary.LittleEndian
	if len(p) < 20 || guid(p) != locatorVHDX || len(p) < 20+12*int(le.Uint16(p[18:])) {
		return nil, disk.Corruptf(formatName, "VHDX parent locator is invalid")
	}
	values := map[string]string{}
	for k := range int(le.Uint16(p[18:])) {
		e := p[20+12*k:][:12]
		key, err := locatorText(p, le.Uint32(e), le.Uint16(e[8:]))
		if err != nil {
			return nil, err
		}
		value, err := locatorText(p, le.Uint32(e[4:]), le.Uint16(e[10:]))
		if err != nil {
			return nil, err
		}
		if _, again := values[key]; again {
			return nil, disk.Corruptf(formatName, "VHDX parent locator has two values for %q", key)
		}
		values[key] = value
	}
	r := &disk.Reference{
		Kind: disk.BackingFile, Format: formatName,
		Names:    winpath.Candidates(values["relative_path"], values["volume_path"], values["absolute_win32_path"]),
		Identity: strings.ToLower(strings.Trim(values["parent_linkage"], "{}")),
	}
	if len(r.Names) == 0 || r.Identity == "" {
		return nil, disk.Corruptf(formatName, "VHDX parent locator does not say which parent")
	}
	return r, nil
}

func locatorText(p []byte, offset uint32, length uint16) (string, error) {
	if int64(offset)+int64(length) > int64(len(p)) {
		return "", disk.Corruptf(formatName, "VHDX parent locator is cut short")
	}
	s, err := winpath.Decode(p[offset:][:length], binary.LittleEndian)
	if err != nil {
		return "", disk.Corruptf(formatName, "VHDX parent locator: %v", err)
	}
	return s, nil
}
