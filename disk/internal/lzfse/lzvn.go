package lzfse

import "encoding/binary"

// lzvnBlock appends a block coded by LZVN, and returns what follows it.
func (d *decoder) lzvnBlock(src []byte) ([]byte, error) {
	if len(src) < 12 {
		return nil, errShort
	}
	raw, n := binary.LittleEndian.Uint32(src[4:]), binary.LittleEndian.Uint32(src[8:])
	src = src[12:]
	if uint64(n) > uint64(len(src)) {
		return nil, errShort
	}
	start := len(d.out)
	if err := d.lzvn(src[:n]); err != nil {
		return nil, err
	}
	if uint64(len(d.out)-start) != uint64(raw) {
		return nil, errLess
	}
	return src[n:], nil
}

// lzvn appends what src stands for: codes, each for a number of literals, which
// follow it, and a match.
func (d *decoder) lzvn(src []byte) error {
	distance := 0
	for {
		if len(src) == 0 {
			return errShort
		}
		c, err := parseCode(src)
		if err != nil {
			return err
		}
		if c.end {
			return nil
		}
		src = src[c.size:]
		if c.literals > len(src) {
			return errShort
		}
		if err := d.literals(src[:c.literals]); err != nil {
			return err
		}
		src = src[c.literals:]
		if c.distance >= 0 {
			distance = c.distance
		}
		if err := d.match(c.match, distance); err != nil {
			return err
		}
	}
}

// A code is one instruction of LZVN.
type code struct {
	size            int // bytes that it takes
	literals, match int
	distance        int // -1 is that of the match before
	end             bool
}

// How many bytes the end of a block takes.
const endSize = 8

// parseCode returns the code at the start of src, which is not empty.
func parseCode(src []byte) (code, error) {
	b := int(src[0])
	c := code{size: codeSize(b), distance: -1}
	if c.size == 0 {
		return c, errOpcode
	}
	if c.size > len(src) {
		return c, errShort
	}
	switch {
	case b == 0x06:
		c.end = true
	case b == 0x0e, b == 0x16: // nothing
	case b == 0xe0:
		c.literals = int(src[1]) + 16
	case b > 0xe0 && b < 0xf0:
		c.literals = b & 15
	case b == 0xf0:
		c.match = int(src[1]) + 16
	case b > 0xf0:
		c.match = b & 15
	case b>>5 == 5: // 101LLMMM DDDDDDMM DDDDDDDD
		rest := int(binary.LittleEndian.Uint16(src[1:]))
		c.literals, c.match, c.distance = b>>3&3, (b&7)<<2|rest&3, rest>>2
		c.match += 3
	default: // LLMMMDDD, where DDD is the upper part of a distance, or 6 or 7
		c.literals, c.match = b>>6, b>>3&7+3
		switch b & 7 {
		case 6:
		case 7:
			c.distance = int(binary.LittleEndian.Uint16(src[1:]))
		default:
			c.distance = b&7<<8 | int(src[1])
		}
	}
	return c, nil
}

// codeSize returns how many bytes a code takes that begins with b; 0 if there
// is none.
func codeSize(b int) int {
	switch {
	case b == 0x06:
		return endSize
	case b == 0x0e, b == 0x16:
		return 1
	case b < 0x40 && b&7 == 6, b>>4 == 7, b>>4 == 0xd:
		return 0
	case b == 0xe0, b == 0xf0:
		return 2
	case b > 0xe0, b < 0xa0 && b&7 == 6, b >= 0xc0 && b&7 == 6:
		return 1
	case b>>5 == 5, b&7 == 7:
		return 3
	}
	return 2
}
