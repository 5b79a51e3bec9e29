package inflate

import (
	"math/bits"
	"sync"
)

// A table entry is what a code word means, and how long it is:
//
//	bits 0–7    length of the code word and of the extra bits behind it
//	bits 8–11   length of the code word alone
//	bits 13–15  what is no literal, length or distance; see below
//	bits 16–30  literal, or what a length or distance begins at
//	bit 31      set for a literal
//
// A code word that does not fit into the main part of its table has an entry
// there that leads to a part for what follows: bits 16–30 are where that begins,
// bits 0–7 the length of the index into it, and the rest of the code word is
// counted from there on.
const (
	entryLiteral = 1 << 31
	entrySpecial = 1 << 15 // one of the following, or no code word
	entryPart    = 1 << 14
	entryEnd     = 1 << 13
)

// Bits that index the main part of a table, and the size of a table: what it
// may need for any code, rounded up to a power of 2, so that an index that is
// masked needs no check. The most is 2342 and 402 entries.
const (
	literalBits  = 11
	literalSize  = 1 << 12
	distanceBits = 8
	distanceSize = 1 << 9
	precodeBits  = 7
	precodeSize  = 1 << precodeBits
	maxBits      = 15
)

// Numbers of symbols (RFC 1951, 3.2.5 to 3.2.7).
const (
	literals  = 288 // and lengths; the last two are never used
	distances = 32  // likewise
	precodes  = 19
	endSymbol = 256
)

// Entries without the length of the code word, by symbol.
var (
	literalEntries  [literals]uint32
	distanceEntries [distances]uint32
	precodeEntries  [precodes]uint32
)

func init() {
	for i := range literalEntries {
		literalEntries[i] = entrySpecial
	}
	for i := range uint32(256) {
		literalEntries[i] = entryLiteral | i<<16
	}
	literalEntries[endSymbol] = entrySpecial | entryEnd
	length := uint32(3)
	for i := range uint32(28) { // RFC 1951, 3.2.5
		extra := max(i/4, 1) - 1
		literalEntries[257+i] = length<<16 | extra
		length += 1 << extra
	}
	literalEntries[285] = 258 << 16
	distance := uint32(1)
	for i := range uint32(30) {
		extra := max(i/2, 1) - 1
		distanceEntries[i] = distance<<16 | extra
		distance += 1 << extra
	}
	distanceEntries[30], distanceEntries[31] = entrySpecial, entrySpecial
	for i := range uint32(precodes) {
		precodeEntries[i] = i << 16
	}
}

// build makes the table of a canonical code from the lengths of its code words
// (RFC 1951, 3.2.2). It reports whether there is such a code: like zlib it
// takes one that leaves code words unused only if it has a single one, of
// length 1, or none at all.
func build(table []uint32, mainBits int, lengths []byte, entries []uint32) bool {
	var count [maxBits + 1]int
	for _, n := range lengths {
		count[n]++
	}
	longest, left := 0, 1
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - count[n]
		if left < 0 {
			return false
		}
		if count[n] > 0 {
			longest = n
		}
	}
	if left > 0 && longest > 1 {
		return false
	}
	// Symbols in the order of their code words.
	var next [maxBits + 2]int
	for n := 1; n <= maxBits; n++ {
		next[n+1] = next[n] + count[n]
	}
	var sorted [literals]uint16
	for symbol, n := range lengths {
		if n > 0 {
			sorted[next[n]] = uint16(symbol)
			next[n]++
		}
	}

	// The table for code words of up to n bits is twice that for n-1 bits, with
	// those of n bits put in.
	table[0] = entrySpecial
	size, code, k := 1, 0, 0
	for n := 1; n <= mainBits; n++ {
		copy(table[size:2*size], table[:size])
		size *= 2
		for range count[n] {
			table[reverse(code, n)] = entries[sorted[k]] + uint32(n)<<8 + uint32(n)
			code++
			k++
		}
		code <<= 1
	}
	end, from, part := size, -1, 0
	for n := mainBits + 1; n <= longest; n++ {
		for ; count[n] > 0; count[n]-- {
			word := reverse(code, n)
			if first := word & (1<<mainBits - 1); first != from {
				from = first
				part = partBits(count[n:longest+1], n-mainBits)
				table[from] = entrySpecial | entryPart | uint32(end)<<16 | uint32(part)
				end += 1 << part
			}
			entry := entries[sorted[k]] + uint32(n-mainBits)<<8 + uint32(n-mainBits)
			for at := word >> mainBits; at < 1<<part; at += 1 << (n - mainBits) {
				table[end-1<<part+at] = entry
			}
			code++
			k++
		}
		code <<= 1
	}
	return true
}

// partBits returns the length of the index into a part whose first code words
// are n bits long: enough for those that follow until it is full. count is how
// many are left, of that length and longer.
func partBits(count []int, n int) int {
	left := 1 << n
	for _, c := range count {
		if left -= c; left <= 0 {
			break
		}
		left <<= 1
		n++
	}
	return n
}

// reverse returns a code word as it comes in the stream, its first bit lowest.
func reverse(code, n int) int { return int(bits.Reverse16(uint16(code)) >> (16 - n)) }

// fixed has the tables of blocks with the fixed code (RFC 1951, 3.2.6).
var fixed = sync.OnceValue(func() *tables {
	t := new(tables)
	lengths := make([]byte, literals)
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	build(t.literal[:], literalBits, lengths, literalEntries[:])
	for i := range distances {
		lengths[i] = 5
	}
	build(t.distance[:], distanceBits, lengths[:distances], distanceEntries[:])
	return t
})

type tables struct {
	literal  [literalSize]uint32
	distance [distanceSize]uint32
}
