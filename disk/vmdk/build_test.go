package vmdk

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
)

// A hosted makes a sparse extent of the hosted layout by hand. Zero values are
// replaced by usual ones.
type hosted struct {
	text     string // embedded descriptor
	capacity uint64 // sectors
	grain    uint64 // sectors
	perTable uint32
	version  uint32
	flags    uint32
	deflate  bool
	footer   bool // the directory's place is in a footer
	// Where grains are, in sectors, by index.
	table map[int]uint32
	// data comes after the tables, from sector dataAt on.
	data []byte
	// change is applied to the header that counts.
	change func(h []byte)
}

const (
	directoryAt = 21
	tableAt     = 22
	dataAt      = 40
)

func (x hosted) header() []byte {
	le := binary.LittleEndian
	h := make([]byte, 512)
	copy(h, magicHosted)
	le.PutUint32(h[4:], max(x.version, 1))
	le.PutUint32(h[8:], x.flags|3)
	le.PutUint64(h[12:], x.capacity)
	le.PutUint64(h[20:], x.grain)
	le.PutUint64(h[28:], 1)
	le.PutUint64(h[36:], 20)
	le.PutUint32(h[44:], x.perTable)
	le.PutUint64(h[56:], directoryAt)
	le.PutUint64(h[64:], dataAt)
	copy(h[73:], "\n \r\n")
	if x.deflate {
		le.PutUint16(h[77:], compressionDefl)
	}
	return h
}

func (x hosted) image() []byte {
	le := binary.LittleEndian
	if x.perTable == 0 {
		x.perTable = 512
	}
	if x.grain == 0 {
		x.grain = 16
	}
	b := make([]byte, dataAt*512)
	h := x.header()
	if x.change != nil {
		x.change(h)
	}
	copy(b, h)
	copy(b[512:], x.text)
	// Tables of fewer than 512 entries follow one another.
	tables := (x.capacity/x.grain + uint64(x.perTable)) / uint64(max(x.perTable, 1))
	for k := range min(tables, 16) {
		le.PutUint32(b[directoryAt*512+4*k:], uint32(tableAt+k))
	}
	for k, sector := range x.table {
		t, in := k/int(x.perTable), k%int(x.perTable)
		le.PutUint32(b[(tableAt+t)*512+4*in:], sector)
	}
	b = append(b, x.data...)
	if x.footer {
		b = append(b, make([]byte, -len(b)&511)...)
		marker := make([]byte, 512)
		le.PutUint32(marker[12:], markerFooter)
		b = append(append(append(b, marker...), h...), make([]byte, 512)...)
		le.PutUint64(b[56:], directoryAtEnd)
	}
	return b
}

// text returns a descriptor.
func text(createType, extents string, fields ...string) string {
	s := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff\ncreateType=%q\n", createType)
	for _, f := range fields {
		s = f + "\n" + s
	}
	return s + "# Extent description\n" + extents + "\n# The Disk Data Base\nddb.adapterType = \"ide\"\n"
}

// compressGrain returns a grain as it is stored compressed, padded to a sector.
func compressGrain(content []byte, sector uint64, marked bool) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = w.Write(content)
	_ = w.Close()
	var b []byte
	if marked {
		b = binary.LittleEndian.AppendUint64(b, sector)
		b = binary.LittleEndian.AppendUint32(b, uint32(z.Len()))
	}
	b = append(b, z.Bytes()...)
	return append(b, make([]byte, -len(b)&511)...)
}

// esx returns a sparse extent of the older ESX layout: tables at sector 4 and
// from 5 on, grains of 16 sectors from 40 on.
func esx(sectors uint32, table map[int]uint32, data []byte, change func(h []byte)) []byte {
	le := binary.LittleEndian
	b := make([]byte, dataAt*512)
	copy(b, magicESX)
	for k, v := range []uint32{1, 3, sectors, 16, 4, 1} {
		le.PutUint32(b[4+4*k:], v)
	}
	le.PutUint32(b[4*512:], 5)
	for k, sector := range table {
		le.PutUint32(b[5*512+4*k:], sector)
	}
	if change != nil {
		change(b)
	}
	return append(b, data...)
}

// se returns a seSparse extent: directory at sector 4, one table at 8, and
// grains from 72 on.
func se(sectors uint64, table map[int]uint64, data []byte, change func(b []byte)) []byte {
	le := binary.LittleEndian
	b := make([]byte, 72*512)
	for k, v := range []uint64{seMagic, seVersion, sectors, grainSectorsSE, seTableSectors} {
		le.PutUint64(b[8*k:], v)
	}
	for k, v := range map[int]uint64{10: 1, 11: 1, 16: 4, 17: 1, 18: 8, 19: 64, 24: 72} {
		le.PutUint64(b[8*k:], v)
	}
	le.PutUint64(b[512:], seVolatileMagic)
	le.PutUint64(b[4*512:], seTableAllocated<<32)
	for k, v := range table {
		le.PutUint64(b[8*512+8*k:], v)
	}
	if change != nil {
		change(b)
	}
	return append(b, data...)
}

// seGrain returns the table entry of an allocated grain.
func seGrain(number uint64) uint64 { return 3<<60 | number&0xfff<<48 | number>>12 }
