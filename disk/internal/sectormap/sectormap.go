// Package sectormap reads sector bitmaps, which say for each sector of a block
// whether a differencing image stores it.
package sectormap

import "math/bits"

// An Order says which sector of eight the lowest bit of a byte stands for.
type Order bool

// The orders of bits.
const (
	LowestFirst  Order = false // VHDX
	HighestFirst Order = true  // VHD
)

// Run returns whether the sector at index is set in the bitmap p, and how many
// sectors from there on, up to index end, are set alike. index < end must hold,
// and p must have end bits.
func Run(p []byte, order Order, index, end int64) (set bool, n int64) {
	set = order.lowestFirst(p[index/8])>>(index%8)&1 != 0
	at := index
	for at < end {
		b := order.lowestFirst(p[at/8])
		if set {
			b = ^b
		}
		// b has bits where the run ends.
		if b >>= at % 8; b != 0 {
			at += int64(bits.TrailingZeros8(b))
			break
		}
		at += 8 - at%8
	}
	return set, min(at, end) - index
}

func (o Order) lowestFirst(b byte) byte {
	if o == HighestFirst {
		return bits.Reverse8(b)
	}
	return b
}
