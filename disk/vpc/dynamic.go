package vpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"instar/disk"
	"instar/disk/internal/metacache"
	"instar/disk/internal/winpath"
)

const (
	dynamicCookie = "cxsparse"
	dynamicSize   = 1024
	locators      = 8
	locatorSize   = 24
	unallocated   = 0xffffffff // entry of the BAT

	// QEMU's limit (block/vpc.c): the BAT has less than 2 GiB.
	maxEntries = math.MaxInt32 / 4

	// checkedEntries is how many entries of the BAT are checked when an image
	// is opened: the others are when they are used.
	checkedEntries = 1 << 20
)

// A dynamic is the dynamic disk header (specification, "Dynamic Disk Header
// Format") and the BAT behind it.
type dynamic struct {
	tables     *metacache.Cache
	fileSize   int64 // rounded up to whole sectors
	batOffset  int64
	entries    int64
	blockSize  int64 // bytes
	bitmapSize int64 // bytes, a multiple of 512, before each block; 0 for blocks below 4 KiB, as in QEMU
	sealed     bool  // the checksum of the header is right
	parentID   [16]byte
	parentName []byte // UTF-16
	locators   []byte
}

// readDynamic reads the header at offset and checks the BAT of a disk of size
// bytes.
func readDynamic(f disk.File, offset uint64, size int64) (*dynamic, error) {
	if offset > math.MaxInt64-dynamicSize {
		return nil, disk.Corruptf(formatName, "Error reading dynamic VHD header")
	}
	p := make([]byte, dynamicSize)
	if err := disk.ReadStored(f, p, int64(offset)); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	block, entries, table := be.Uint32(p[32:]), be.Uint32(p[28:]), be.Uint64(p[16:])
	switch {
	case string(p[:8]) != dynamicCookie:
		return nil, disk.Corruptf(formatName, "Invalid header magic")
	case bits.OnesCount32(block) != 1 || block < disk.SectorSize:
		return nil, disk.Corruptf(formatName, "Invalid block size %d", block)
	case int64(entries)*int64(block) < size:
		return nil, disk.Corruptf(formatName, "Page table too small")
	case entries > maxEntries:
		return nil, disk.Corruptf(formatName, "Max Table Entries too large (%d)", entries)
	case table > math.MaxInt64-4*maxEntries:
		return nil, disk.Corruptf(formatName, "Error reading pagetable")
	}
	d := &dynamic{
		tables:     metacache.New(f),
		batOffset:  int64(table),
		entries:    int64(entries),
		blockSize:  int64(block),
		bitmapSize: (int64(block)/disk.SectorSize/8 + disk.SectorSize - 1) &^ (disk.SectorSize - 1),
		sealed:     sealed(p, dynamicSum),
		parentID:   [16]byte(p[40:]),
		parentName: p[64:576],
		locators:   p[576:][:locators*locatorSize],
	}
	return d, d.checkBAT(f)
}

func truncated() error {
	return disk.Corruptf(formatName, "block-vpc: free_data_block_offset points after the end of file. The image has been truncated.")
}

// checkBAT checks that the BAT, and the blocks of its first entries, lie within
// the file.
func (d *dynamic) checkBAT(f disk.File) error {
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("get the size of the file: %w", err)
	}
	if size < 0 || size > math.MaxInt64-disk.SectorSize {
		return disk.Corruptf(formatName, "file of %d bytes is too large", size)
	}
	d.fileSize = (size + disk.SectorSize - 1) &^ (disk.SectorSize - 1)
	if d.batOffset+4*d.entries > d.fileSize {
		return truncated()
	}
	for index := range min(d.entries, checkedEntries) {
		if _, _, err := d.block(index); err != nil {
			return err
		}
	}
	return nil
}

// block returns where the block of an entry of the BAT is stored: the offset of
// its sector bitmap, in bytes. ok is false when it is not stored.
func (d *dynamic) block(index int64) (at int64, ok bool, err error) {
	var p [4]byte
	if err := d.tables.ReadAt(p[:], d.batOffset+4*index); err != nil {
		return 0, false, err
	}
	entry := binary.BigEndian.Uint32(p[:])
	if entry == unallocated {
		return 0, false, nil
	}
	at = int64(entry) * disk.SectorSize
	if at+d.bitmapSize+d.blockSize > d.fileSize {
		return 0, false, truncated()
	}
	return at, true, nil
}

// absent returns how many blocks are not stored from that of an entry of the
// BAT on, as far as one look at the BAT shows.
func (d *dynamic) absent(index int64) (int64, error) {
	p, err := d.tables.View(d.batOffset+4*index, 4*(d.entries-index))
	if err != nil {
		return 0, err
	}
	n := int64(1)
	for 4*n+4 <= int64(len(p)) && binary.BigEndian.Uint32(p[4*n:]) == unallocated {
		n++
	}
	return n, nil
}

// parent returns the reference to the parent of a differencing disk: what its
// parent locators say and, after that, the name in the header.
func (d *dynamic) parent(f disk.File) (disk.Reference, error) {
	r := disk.Reference{Kind: disk.BackingFile, Format: formatName, Identity: identity(d.parentID)}
	var paths []string
	// The relative name comes first: images move together.
	for _, code := range []string{"W2ru", "W2ku"} {
		for k := range locators {
			l := d.locators[k*locatorSize:][:locatorSize]
			if string(l[:4]) != code {
				continue
			}
			path, err := readLocator(f, l)
			if err != nil {
				return r, err
			}
			paths = append(paths, path)
		}
	}
	name, err := winpath.Decode(d.parentName, binary.BigEndian)
	if err != nil {
		return r, badParent(err)
	}
	r.Names = winpath.Candidates(append(paths, name)...)
	if len(r.Names) == 0 {
		return r, disk.Corruptf(formatName, "differencing disk that does not name its parent")
	}
	return r, nil
}

func badParent(err error) error {
	return disk.Corruptf(formatName, "parent locator: %v", err)
}

// readLocator returns the path that the entry l of the table of parent locators
// leads to.
func readLocator(f disk.File, l []byte) (string, error) {
	n, off := binary.BigEndian.Uint32(l[8:]), binary.BigEndian.Uint64(l[16:])
	if n > winpath.MaxLength || off > math.MaxInt64-winpath.MaxLength {
		return "", badParent(winpath.ErrName)
	}
	p := make([]byte, n)
	if err := disk.ReadStored(f, p, int64(off)); err != nil {
		return "", err
	}
	// Windows writes these names in its own byte order, unlike the one in the
	// header, and other programs in that of the format. Names begin with ASCII.
	var order binary.ByteOrder = binary.LittleEndian
	if len(p) >= 2 && p[0] == 0 && p[1] != 0 {
		order = binary.BigEndian
	}
	path, err := winpath.Decode(p, order)
	if err != nil {
		return "", badParent(err)
	}
	return path, nil
}

// identity returns a unique ID as text.
func identity(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
