package vmdk

import (
	"encoding/binary"
	"fmt"
	"math"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/metacache"
)

const (
	magicHosted = "KDMV"
	magicESX    = "COWD"

	headerSize = 512

	// QEMU's limits (block/vmdk.c): 1 GiB, and 128 MiB of grain directory.
	maxGrainSectors  = 0x200000
	maxDirectory     = 32 << 20 // entries
	maxTableHosted   = 512      // entries
	tableEntriesESX  = 4096
	tableEntriesSE   = 4096
	grainSectorsSE   = 8
	maxCompressed    = 4 << 20 // bytes of a grain that is stored compressed
	directoryAtEnd   = math.MaxUint64
	flagZeroGrain    = 1 << 2
	flagMarkers      = 1 << 17
	compressionNone  = 0
	compressionDefl  = 1
	markerFooter     = 3
	versionMax       = 3
	entryZeroed      = 1 // grain table entry, with flagZeroGrain
	seMagic          = 0xcafebabe
	seVolatileMagic  = 0xcafecafe
	seVersion        = 0x2_0000_0001
	seTableSectors   = 64
	seTableAllocated = 0x10000000 // upper half of a directory entry
)

// A sparse is the layout of one sparse extent: where its grain directory is,
// and what its entries mean.
type sparse struct {
	sectors    int64 // of the virtual disk
	grain      int64 // bytes
	perTable   int64 // grains
	directory  int64 // offset in bytes
	end        int64 // of the file; tables behind it are zeros
	zeroGrains bool  // an entry of 1 is a grain of zeros
	compressed bool
	markers    bool  // compressed grains are preceded by their length
	text       int64 // length of the embedded descriptor, bytes

	// Of seSparse extents, whose entries have 64 bits: the offsets in sectors
	// at which tables and grains are counted from.
	se                 bool
	seTables, seGrains uint64
}

// readSparse reads the header of a sparse extent of the hosted or the older ESX
// layout.
func readSparse(f disk.File) (*sparse, error) {
	var h [headerSize]byte
	if err := disk.ReadStored(f, h[:], 0); err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	switch string(h[:4]) {
	case magicHosted:
		return readHosted(f, size, h[:])
	case magicESX:
		return readESX(h[:], size)
	}
	return nil, disk.Corruptf(formatName, "Image not in VMDK format")
}

// readHosted reads a header as in "Virtual Disk Format 5.0", "Hosted Sparse
// Extent Header", and the footer that may take its place.
func readHosted(f disk.File, size int64, h []byte) (*sparse, error) {
	le := binary.LittleEndian
	capacity, descriptor := le.Uint64(h[12:]), le.Uint64(h[28:])
	if descriptor > 1 || (capacity == 0 && descriptor != 0) {
		// With a capacity of 0, QEMU takes the embedded descriptor for the
		// definition of the disk, and opens whatever it names.
		return nil, disk.Unsupportedf(formatName, "Unsupported image: sparse extent of capacity %d with a descriptor at sector %d", capacity, descriptor)
	}
	if le.Uint64(h[56:]) == directoryAtEnd {
		footer, err := readFooter(f, size)
		if err != nil {
			return nil, err
		}
		h = footer
	}
	return parseHosted(h, size)
}

// readFooter returns the header of a stream-optimized extent that comes at its
// end, between a marker and the end of the stream.
func readFooter(f disk.File, size int64) ([]byte, error) {
	var p [3 * headerSize]byte
	at := (size-1)/disk.SectorSize*disk.SectorSize + disk.SectorSize - int64(len(p))
	if at < 0 {
		return nil, disk.Corruptf(formatName, "Failed to read footer")
	}
	if err := disk.ReadStored(f, p[:], at); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	footer, end := p[headerSize:2*headerSize], p[2*headerSize:]
	if string(footer[:4]) != magicHosted || le.Uint32(p[8:]) != 0 || le.Uint32(p[12:]) != markerFooter ||
		le.Uint64(end) != 0 || le.Uint64(end[8:]) != 0 {
		return nil, disk.Corruptf(formatName, "Invalid footer")
	}
	return footer, nil
}

func parseHosted(h []byte, fileSize int64) (*sparse, error) {
	le := binary.LittleEndian
	version, flags := le.Uint32(h[4:]), le.Uint32(h[8:])
	capacity, grain := le.Uint64(h[12:]), le.Uint64(h[20:])
	perTable, directory, overhead := le.Uint32(h[44:]), le.Uint64(h[56:]), le.Uint64(h[64:])
	compression := le.Uint16(h[77:])
	switch {
	case version > versionMax:
		return nil, disk.Unsupportedf(formatName, "Unsupported VMDK version %d", version)
	case perTable > maxTableHosted:
		return nil, disk.Corruptf(formatName, "L2 table size too big")
	case perTable == 0 || grain == 0:
		return nil, disk.Corruptf(formatName, "L1 entry size is invalid")
	case overhead > maxSectors || fileSize <= int64(overhead-1)*disk.SectorSize && overhead > 0:
		return nil, disk.Corruptf(formatName, "File truncated, expecting at least %d bytes", min(overhead, maxSectors)*disk.SectorSize)
	case compression > compressionDefl:
		return nil, disk.Unsupportedf(formatName, "Unsupported compression algorithm %d", compression)
	case compression == compressionDefl && grain > maxCompressed/disk.SectorSize:
		return nil, disk.Unsupportedf(formatName, "Unsupported compressed grains of %d sectors", grain)
	}
	s := &sparse{
		end:        fileSize,
		perTable:   int64(perTable),
		zeroGrains: flags&flagZeroGrain != 0,
		compressed: compression == compressionDefl,
		markers:    flags&flagMarkers != 0,
	}
	if le.Uint64(h[28:]) != 0 { // its length may be anything: no more of it is read
		s.text = min(int64(min(le.Uint64(h[36:]), maxSectors))*disk.SectorSize, maxEmbedded)
	}
	if err := s.setSize(capacity, grain); err != nil {
		return nil, err
	}
	span := uint64(perTable) * grain
	return s, s.setDirectory(directory, (capacity+span-1)/span)
}

// readESX reads a header of the older ESX layout.
func readESX(h []byte, fileSize int64) (*sparse, error) {
	le := binary.LittleEndian
	s := &sparse{perTable: tableEntriesESX, end: fileSize}
	if err := s.setSize(uint64(le.Uint32(h[12:])), uint64(le.Uint32(h[16:]))); err != nil {
		return nil, err
	}
	return s, s.setDirectory(uint64(le.Uint32(h[20:])), uint64(le.Uint32(h[24:])))
}

// readSE reads the headers of a seSparse extent. Nothing but what is known is
// taken.
func readSE(f disk.File) (*sparse, error) {
	var h [headerSize]byte
	if err := disk.ReadStored(f, h[:], 0); err != nil {
		return nil, err
	}
	field := func(index int) uint64 { return binary.LittleEndian.Uint64(h[8*index:]) }
	unsupported := func(format string, args ...any) (*sparse, error) {
		return nil, disk.Unsupportedf(formatName, format, args...)
	}
	switch {
	case field(0) != seMagic:
		return nil, disk.Corruptf(formatName, "Bad const header magic: 0x%016x", field(0))
	case field(1) != seVersion:
		return unsupported("Unsupported version: 0x%016x", field(1))
	case field(3) != grainSectorsSE:
		return unsupported("Unsupported grain size: %d", field(3))
	case field(4) != seTableSectors:
		return unsupported("Unsupported grain table size: %d", field(4))
	case field(5) != 0:
		return unsupported("Unsupported flags: 0x%016x", field(5))
	case field(6)|field(7)|field(8)|field(9) != 0:
		return unsupported("Unsupported reserved bits: 0x%016x 0x%016x 0x%016x 0x%016x", field(6), field(7), field(8), field(9))
	case [304]byte(h[208:]) != [304]byte{}:
		return unsupported("Unsupported non-zero const header padding")
	}
	if err := checkVolatile(f, field(10)); err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	s := &sparse{perTable: tableEntriesSE, end: size, se: true, seTables: field(18), seGrains: field(24)}
	if err := s.setSize(field(2), grainSectorsSE); err != nil {
		return nil, err
	}
	return s, s.setDirectory(field(16), min(field(17), maxSectors)*(disk.SectorSize/8))
}

// checkVolatile checks the volatile header of a seSparse extent at a sector.
func checkVolatile(f disk.File, sector uint64) error {
	if sector >= maxSectors {
		return disk.Corruptf(formatName, "Bad volatile header offset: %d", sector)
	}
	var h [headerSize]byte
	if err := disk.ReadStored(f, h[:], int64(sector)*disk.SectorSize); err != nil {
		return err
	}
	le := binary.LittleEndian
	switch {
	case le.Uint64(h[:]) != seVolatileMagic:
		return disk.Corruptf(formatName, "Bad volatile header magic: 0x%016x", le.Uint64(h[:]))
	case le.Uint64(h[24:]) != 0:
		return disk.Unsupportedf(formatName, "Image is dirty, Replaying journal not supported")
	case [480]byte(h[32:]) != [480]byte{}:
		return disk.Unsupportedf(formatName, "Unsupported non-zero volatile header padding")
	}
	return nil
}

// setSize sets the size of the extent and of its grains, in sectors.
func (s *sparse) setSize(sectors, grain uint64) error {
	switch {
	case grain == 0 || grain > maxGrainSectors:
		return disk.Corruptf(formatName, "Invalid granularity, image may be corrupt")
	case sectors > maxSectors:
		return disk.Corruptf(formatName, errSectors)
	}
	s.sectors, s.grain = int64(sectors), int64(grain)*disk.SectorSize
	return nil
}

// setDirectory sets where the grain directory is, in sectors, and how many
// entries it has, which must do for the size.
func (s *sparse) setDirectory(sector, entries uint64) error {
	grains := s.sectors / (s.grain / disk.SectorSize)
	if s.sectors%(s.grain/disk.SectorSize) != 0 {
		grains++
	}
	switch need := (grains + s.perTable - 1) / s.perTable; {
	case entries > maxDirectory || need > maxDirectory:
		return disk.Corruptf(formatName, "L1 size too big")
	case uint64(need) > entries:
		return disk.Corruptf(formatName, "L1 table too small")
	case sector > maxSectors-maxDirectory:
		return disk.Corruptf(formatName, "Could not read l1 table")
	}
	s.directory = int64(sector) * disk.SectorSize
	return nil
}

// entrySize returns the length of an entry of the tables in bytes.
func (s *sparse) entrySize() int64 {
	if s.se {
		return 8
	}
	return 4
}

// tables looks grains up in the tables of a sparse extent. Most of those of a
// large disk are empty: they are skipped as a whole, and where the file has
// holes they are not even read.
type tables struct {
	*sparse
	file  disk.File
	cache *metacache.Cache
	holes holes
}

// lookup finds a grain by its index. Tables behind the end of the file are
// zeros.
func (t *tables) lookup(index int64) (blockmap.Entry, error) {
	none := blockmap.Entry{Kind: disk.Unallocated, Blocks: math.MaxInt64}
	slot := t.directory + index/t.perTable*t.entrySize()
	if slot >= t.end {
		return none, nil
	}
	at, err := t.grainTable(slot)
	in := index % t.perTable
	switch {
	case err != nil:
		return none, err
	case at == 0:
		n, err := t.zeros(slot, slot+metacache.BlockSize)
		none.Blocks = n*t.perTable - in
		return none, err
	case at >= t.end:
		none.Blocks = t.perTable - in
		return none, nil
	}
	entry := at + in*t.entrySize()
	if n, err := t.zeros(entry, at+t.perTable*t.entrySize()); n > 0 || err != nil {
		none.Blocks = n
		return none, err
	}
	if t.se {
		return t.lookupSE(entry)
	}
	return t.lookup32(entry)
}

// zeros returns how many entries are zero from an offset of the file on, up to
// an end. It may be more than it tells.
func (t *tables) zeros(start, end int64) (int64, error) {
	if t.holes.cover(start, end) {
		return (end - start) / t.entrySize(), nil
	}
	p, err := t.cache.View(start, end-start)
	if err != nil {
		return 0, err
	}
	n := 0
	for n+8 <= len(p) && binary.NativeEndian.Uint64(p[n:]) == 0 {
		n += 8
	}
	for n < len(p) && p[n] == 0 {
		n++
	}
	return int64(n) / t.entrySize(), nil
}

// lookup32 interprets a grain table entry of 32 bits at an offset: the sector
// of the grain.
func (t *tables) lookup32(at int64) (blockmap.Entry, error) {
	entry, err := t.uint32(at)
	switch {
	case err != nil:
		return blockmap.Entry{}, err
	case entry == entryZeroed && t.zeroGrains:
		return blockmap.Entry{Kind: disk.Zero}, nil
	case t.compressed:
		return blockmap.Entry{Kind: disk.Encoded, Offset: int64(entry) * disk.SectorSize}, nil
	}
	return blockmap.Entry{Kind: disk.Data, Offset: int64(entry) * disk.SectorSize}, nil
}

// grainTable returns the offset of a grain table in bytes, by the directory
// entry at an offset; 0 when there is none.
func (t *tables) grainTable(slot int64) (int64, error) {
	if !t.se {
		sector, err := t.uint32(slot)
		return int64(sector) * disk.SectorSize, err
	}
	entry, err := t.uint64(slot)
	if err != nil || entry == 0 {
		return 0, err
	}
	number := entry & math.MaxUint32
	if entry>>32 != seTableAllocated || t.seTables > math.MaxUint32 || t.seTables+number*seTableSectors > math.MaxUint32 {
		return 0, disk.Corruptf(formatName, "grain directory entry %#x is invalid", entry)
	}
	return int64(t.seTables+number*seTableSectors) * disk.SectorSize, nil
}

// lookupSE interprets the grain table entry of a seSparse extent at an offset.
// Its top four bits are a state, and the next twelve are the lowest of the
// grain's number.
func (t *tables) lookupSE(at int64) (blockmap.Entry, error) {
	entry, err := t.uint64(at)
	if err != nil {
		return blockmap.Entry{}, err
	}
	switch state := entry >> 60; {
	case state == 1 || state == 2: // unmapped, zeroed
		return blockmap.Entry{Kind: disk.Zero}, nil
	case state == 3:
		number := entry>>48&0xfff | entry&(1<<48-1)<<12
		const most = maxSectors - grainSectorsSE
		if t.seGrains > most || number > (most-t.seGrains)/grainSectorsSE {
			break
		}
		return blockmap.Entry{Kind: disk.Data, Offset: int64(t.seGrains+number*grainSectorsSE) * disk.SectorSize}, nil
	}
	return blockmap.Entry{}, disk.Corruptf(formatName, "grain table entry %#x is invalid", entry)
}

func (t *tables) uint32(at int64) (uint32, error) {
	var p [4]byte
	err := t.cache.ReadAt(p[:], at)
	return binary.LittleEndian.Uint32(p[:]), err
}

func (t *tables) uint64(at int64) (uint64, error) {
	var p [8]byte
	err := t.cache.ReadAt(p[:], at)
	return binary.LittleEndian.Uint64(p[:]), err
}
