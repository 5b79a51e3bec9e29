package vpc

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// A builder makes an image by hand.
type builder struct {
	size     int64
	chs      [3]int
	app      string
	kind     uint32
	block    uint32
	entries  uint32
	bat      map[int]uint32 // in sectors; all others are unallocated
	blocks   [][]byte       // bitmap and content, from sector firstBlock on
	parent   string
	parentID byte
	locators []locator
	// change is applied to the finished parts.
	change func(footer, dynamic []byte)
}

type locator struct {
	code string
	data []byte
}

// firstBlock is the sector of the first block of a builder's image: footer,
// header, eight sectors of locators, and the BAT come before it.
const firstBlock = 1 + 2 + 8 + 8

func (b builder) footer() []byte {
	be := binary.BigEndian
	p := make([]byte, footerSize)
	copy(p, cookie)
	be.PutUint32(p[8:], 2)
	be.PutUint32(p[12:], 1<<16)
	be.PutUint64(p[16:], footerSize)
	copy(p[28:32], b.app)
	be.PutUint64(p[40:], uint64(b.size))
	be.PutUint64(p[48:], uint64(b.size))
	be.PutUint16(p[56:], uint16(b.chs[0]))
	p[58], p[59] = byte(b.chs[1]), byte(b.chs[2])
	be.PutUint32(p[60:], b.kind)
	copy(p[68:84], bytes.Repeat([]byte{0x1d}, 16))
	return p
}

func (b builder) dynamic() (header, data []byte) {
	be := binary.BigEndian
	p := make([]byte, dynamicSize)
	data = make([]byte, 8*512)
	copy(p, dynamicCookie)
	be.PutUint64(p[8:], ^uint64(0))
	be.PutUint64(p[16:], (firstBlock-8)*512)
	be.PutUint32(p[24:], 1<<16)
	be.PutUint32(p[28:], b.entries)
	be.PutUint32(p[32:], b.block)
	copy(p[40:56], bytes.Repeat([]byte{b.parentID}, 16))
	copy(p[64:576], encode(b.parent, be))
	for k, l := range b.locators {
		at := k * 512
		copy(data[at:], l.data)
		e := p[576+k*locatorSize:]
		copy(e, l.code)
		be.PutUint32(e[4:], 512)
		be.PutUint32(e[8:], uint32(len(l.data)))
		be.PutUint64(e[16:], uint64(3*512+at))
	}
	return p, data
}

func encode(s string, order binary.AppendByteOrder) (p []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		p = order.AppendUint16(p, u)
	}
	return p
}

func (b builder) image() []byte {
	foot := b.footer()
	head, data := b.dynamic()
	if b.change != nil {
		b.change(foot, head)
	}
	var sum uint32
	for _, c := range head {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(head[36:], ^sum)
	binary.BigEndian.PutUint32(foot[footerSum:], checksum(foot, footerSum))
	if b.kind == typeFixed {
		return append(bytes.Join(b.blocks, nil), foot...)
	}
	bat := bytes.Repeat([]byte{0xff}, 8*512)
	for k, e := range b.bat {
		binary.BigEndian.PutUint32(bat[4*k:], e)
	}
	parts := append([][]byte{foot, head, data, bat}, b.blocks...)
	return bytes.Join(append(parts, foot), nil)
}

// block returns a block of a builder's image, and how many sectors it takes.
func block(bitmap byte, content []byte) []byte {
	sectors := len(content) / 512
	p := make([]byte, (sectors/8+511)&^511)
	for k := range (sectors + 7) / 8 {
		p[k] = bitmap
	}
	return append(p, content...)
}
