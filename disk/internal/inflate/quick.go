package inflate

import "encoding/binary"

// What quick needs before the end of dst, for three literals and for copying in
// words, and before the end of src, for taking words twice.
const (
	margin = 24
	ahead  = 16
)

// quick decodes a block for as long as there is room to do so without asking at
// every byte whether there is. It reports how it came to an end.
//
// What there is in bits beyond n is the beginning of what comes next in src.
func (d *decoder) quick(t *tables) (outcome, error) {
	src, dst := d.src, d.dst
	pos, out, bits, n := d.pos, d.out, d.bits, d.n
	lastPos, lastOut := len(src)-ahead, len(dst)-margin
	how := goesOn
	for pos <= lastPos && out <= lastOut {
		bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		// Up to three literals: 33 bits, since those with longer code words
		// have no entry of their own in the main part of the table.
		entry := t.literal[bits&(1<<literalBits-1)]
		if entry&entryLiteral != 0 {
			bits >>= entry & 63
			n -= uint(entry & 63)
			dst[out] = byte(entry >> 16)
			out++
			entry = t.literal[bits&(1<<literalBits-1)]
			if entry&entryLiteral != 0 {
				bits >>= entry & 63
				n -= uint(entry & 63)
				dst[out] = byte(entry >> 16)
				out++
				entry = t.literal[bits&(1<<literalBits-1)]
				if entry&entryLiteral != 0 {
					bits >>= entry & 63
					n -= uint(entry & 63)
					dst[out] = byte(entry >> 16)
					out++
					continue
				}
			}
		}
		if entry&entrySpecial != 0 {
			if entry&entryPart != 0 {
				bits >>= literalBits
				n -= literalBits
				entry = t.literal[(entry>>16+uint32(bits)&(1<<(entry&31)-1))&(literalSize-1)]
				if entry&entryLiteral != 0 {
					bits >>= entry & 63
					n -= uint(entry & 63)
					dst[out] = byte(entry >> 16)
					out++
					continue
				}
			}
			if entry&entryEnd != 0 {
				bits >>= entry & 63
				n -= uint(entry & 63)
				how = blockEnds
				break
			}
			if entry&entrySpecial != 0 {
				return goesOn, ErrCorrupt
			}
		}
		length := int(entry>>16 + uint32(bits&(1<<(entry&63)-1)>>(entry>>8&15)))
		bits >>= entry & 63
		n -= uint(entry & 63)

		if n < maxBits+13 { // what a distance may take
			bits |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
			pos += int(63-n) >> 3
			n |= 56
		}
		entry = t.distance[bits&(1<<distanceBits-1)]
		if entry&entrySpecial != 0 {
			if entry&entryPart == 0 {
				return goesOn, ErrCorrupt
			}
			bits >>= distanceBits
			n -= distanceBits
			entry = t.distance[(entry>>16+uint32(bits)&(1<<(entry&31)-1))&(distanceSize-1)]
			if entry&entrySpecial != 0 {
				return goesOn, ErrCorrupt
			}
		}
		distance := int(entry>>16 + uint32(bits&(1<<(entry&63)-1)>>(entry>>8&15)))
		bits >>= entry & 63
		n -= uint(entry & 63)

		from := out - distance
		if from < 0 {
			return goesOn, ErrCorrupt
		}
		end := out + length
		if end > len(dst)-16 { // no room for whole words
			how = d.match(out, distance, length)
			out = d.out
			if how != goesOn {
				break
			}
			continue
		}
		switch {
		case distance >= 16:
			for {
				*(*[16]byte)(dst[out:]) = *(*[16]byte)(dst[from:])
				out += 16
				from += 16
				if out >= end {
					break
				}
			}
		case distance >= 8:
			for out < end {
				*(*[8]byte)(dst[out:]) = *(*[8]byte)(dst[from:])
				out += 8
				from += 8
			}
		case distance == 1:
			word := uint64(dst[from]) * 0x0101010101010101
			for out < end {
				binary.LittleEndian.PutUint64(dst[out:], word)
				out += 8
			}
		default:
			for ; out < end; out++ {
				dst[out] = dst[from]
				from++
			}
		}
		out = end
	}
	d.pos, d.out, d.bits, d.n = pos, out, bits&(1<<(n&63)-1), n
	return how, nil
}
