package vhdx

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"unicode/utf16"
)

const (
	logAt      = 1 << 20
	batAt      = 2 << 20
	metadataAt = 3 << 20
	dataAt     = 4 << 20

	itemsAt = metadataAt + metadataTable
)

var (
	logID  = guid(bytes.Repeat([]byte{0x10}, 16))
	dataID = guid(bytes.Repeat([]byte{0xda}, 16))
)

// A builder makes an image by hand. Zero values are replaced by usual ones.
type builder struct {
	size    uint64
	block   uint32
	sector  uint32
	fixed   bool
	bat     map[int]uint64 // entries by their index in the table
	data    []byte         // from dataAt on
	log     [][]byte       // entries, from the start of the log on
	logID   guid
	parent  map[string]string
	items   map[guid][]byte // instead of the usual ones, or besides them
	regions []byte          // entries besides the usual ones
	// change is applied to the image before its checksums are made.
	change func(b []byte)
}

func (x builder) image() []byte {
	le := binary.LittleEndian
	x.block, x.sector = max(x.block, 1<<20), max(x.sector, 512)
	b := make([]byte, dataAt)
	copy(b, signature)
	for k, at := range []int{headerAt, secondAt} {
		h := b[at:]
		copy(h, "head")
		le.PutUint64(h[8:], uint64(k+1))
		copy(h[32:], dataID[:])
		copy(h[48:], x.logID[:])
		le.PutUint16(h[66:], 1)
		le.PutUint32(h[68:], 1<<20)
		le.PutUint64(h[72:], logAt)
	}
	x.putRegions(b[regionsAt:])
	copy(b[regionsCopyAt:][:regionsSize], b[regionsAt:])
	copy(b[logAt:batAt], bytes.Join(x.log, nil))
	for k, v := range x.bat {
		le.PutUint64(b[batAt+8*k:], v)
	}
	x.putItems(b)
	b = append(b, x.data...)
	if x.change != nil {
		x.change(b)
	}
	seal(b[headerAt:][:headerSize])
	seal(b[secondAt:][:headerSize])
	seal(b[regionsAt:][:regionsSize])
	seal(b[regionsCopyAt:][:regionsSize])
	return b
}

// seal stores the checksum of p in it.
func seal(p []byte) { binary.LittleEndian.PutUint32(p[4:], checksum(p)) }

func (x builder) putRegions(p []byte) {
	entries := slices.Concat(regionEntry(regionBAT, batAt, 1<<20, 1), regionEntry(regionMetadata, metadataAt, 1<<20, 1), x.regions)
	copy(p, "regi")
	binary.LittleEndian.PutUint32(p[8:], uint32(len(entries)/32))
	copy(p[16:], entries)
}

func regionEntry(id guid, offset uint64, length, required uint32) []byte {
	le := binary.LittleEndian
	p := le.AppendUint64(id[:16:16], offset)
	return le.AppendUint32(le.AppendUint32(p, length), required)
}

func (x builder) putItems(b []byte) {
	le := binary.LittleEndian
	flags := uint32(0)
	if x.fixed {
		flags |= 1
	}
	all := map[guid][]byte{
		itemSize:           le.AppendUint64(nil, x.size),
		itemDiskID:         make([]byte, 16),
		itemLogicalSector:  le.AppendUint32(nil, x.sector),
		itemPhysicalSector: le.AppendUint32(nil, 4096),
	}
	if x.parent != nil {
		flags |= flagHasParent
		all[itemParentLocator] = locator(x.parent)
	}
	all[itemParameters] = le.AppendUint32(le.AppendUint32(nil, x.block), flags)
	maps.Copy(all, x.items)

	table, at := b[metadataAt:], metadataTable
	copy(table, "metadata")
	k := 0
	for _, id := range slices.SortedFunc(maps.Keys(all), func(a, b guid) int { return bytes.Compare(a[:], b[:]) }) {
		if all[id] == nil {
			continue
		}
		e := table[32+32*k:]
		copy(e, id[:])
		le.PutUint32(e[16:], uint32(at))
		le.PutUint32(e[20:], uint32(len(all[id])))
		le.PutUint32(e[24:], flagRequired)
		copy(table[at:], all[id])
		at += len(all[id])
		k++
	}
	le.PutUint16(table[10:], uint16(k))
}

func encode(s string) (p []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		p = binary.LittleEndian.AppendUint16(p, u)
	}
	return p
}

func locator(values map[string]string) []byte {
	le := binary.LittleEndian
	p := append(locatorVHDX[:16:16], 0, 0)
	p = le.AppendUint16(p, uint16(len(values)))
	var texts []byte
	for _, key := range slices.Sorted(maps.Keys(values)) {
		k, v := encode(key), encode(values[key])
		at := uint32(20 + 12*len(values) + len(texts))
		p = le.AppendUint32(le.AppendUint32(p, at), at+uint32(len(k)))
		p = le.AppendUint16(le.AppendUint16(p, uint16(len(k))), uint16(len(v)))
		texts = append(append(texts, k...), v...)
	}
	return append(p, texts...)
}

// present returns the BAT entry of a block stored at a MiB.
func present(mib uint64) uint64 { return mib<<20 | blockFullyPresent }

// A change is one descriptor of a log entry: a page, or a run of zeros.
type change struct {
	at    uint64
	page  []byte
	zeros uint64
}

// entry returns a log entry.
func entry(sequence uint64, tail uint32, fileSize uint64, changes ...change) []byte {
	le := binary.LittleEndian
	p := make([]byte, (logHeaderSize+len(changes)*descriptorSize+logUnit-1)&^(logUnit-1))
	copy(p, "loge")
	le.PutUint32(p[12:], tail)
	le.PutUint64(p[16:], sequence)
	le.PutUint32(p[24:], uint32(len(changes)))
	copy(p[32:], logID[:])
	le.PutUint64(p[48:], fileSize)
	le.PutUint64(p[56:], fileSize)
	for k, c := range changes {
		d := p[logHeaderSize+k*descriptorSize:][:descriptorSize]
		le.PutUint64(d[16:], c.at)
		le.PutUint64(d[24:], sequence)
		if c.page == nil {
			copy(d, "zero")
			le.PutUint64(d[8:], c.zeros)
			continue
		}
		copy(d, "desc")
		copy(d[4:], c.page[logUnit-4:])
		copy(d[8:], c.page[:8])
		s := make([]byte, logUnit)
		copy(s, "data")
		le.PutUint32(s[4:], uint32(sequence>>32))
		copy(s[8:], c.page[8:logUnit-4])
		le.PutUint32(s[logUnit-4:], uint32(sequence))
		p = append(p, s...)
	}
	le.PutUint32(p[8:], uint32(len(p)))
	seal(p)
	return p
}
