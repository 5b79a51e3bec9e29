package deflate

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// maxTokens bounds a block.
const maxTokens = 32 << 10

// Numbers of symbols (RFC 1951, 3.2.5 to 3.2.7).
const (
	literalCount  = 286
	distanceCount = 30
	precodeCount  = 19
	endSymbol     = 256
	longest       = 15 // bits of a code word
	longestPre    = 7  // of the precode
)

var (
	lengthSymbols  [maxMatch - minMatch + 1]uint16 // by length-3
	lengthExtra    [literalCount]uint8             // by symbol
	lengthBase     [literalCount]uint16            // length-3
	distanceExtra  [distanceCount]uint8
	distanceBase   [distanceCount]uint16
	smallDistances [256]uint8 // symbols by distance-1
	largeDistances [256]uint8 // by (distance-1)>>7
)

func init() {
	length := 0
	for s := 257; s < literalCount; s++ {
		extra := max((s-257)/4, 1) - 1
		if s == literalCount-1 { // 258 has a symbol of its own
			length, extra = maxMatch-minMatch, 0
		}
		lengthBase[s], lengthExtra[s] = uint16(length), uint8(extra)
		for i := length; i < min(length+1<<extra, len(lengthSymbols)); i++ {
			lengthSymbols[i] = uint16(s)
		}
		length += 1 << extra
	}
	distance := 0
	for s := range distanceCount {
		extra := max(s/2, 1) - 1
		distanceBase[s], distanceExtra[s] = uint16(distance), uint8(extra)
		for d := distance; d < distance+1<<extra; d++ {
			if d < 256 {
				smallDistances[d] = uint8(s)
			} else {
				largeDistances[d>>7] = uint8(s)
			}
		}
		distance += 1 << extra
	}
}

func distanceSymbol(distance int) uint8 {
	if d := distance - 1; d < 256 {
		return smallDistances[d&255]
	}
	return largeDistances[(distance-1)>>7&255]
}

// A block counts symbols and then writes them.
type block struct {
	literals  [literalCount]uint32
	distances [distanceCount]uint32

	literal  code
	distance code
	precode  code
	lengths  [literalCount + distanceCount]uint8
	packed   []uint16 // lengths as symbols of the precode: symbol, extra bits from bit 8 on
}

func (b *block) begin() {
	clear(b.literals[:])
	clear(b.distances[:])
}

// precodeOrder is the order of the lengths of the precode (RFC 1951, 3.2.7).
var precodeOrder = [precodeCount]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// write writes tokens that stand for content: compressed, or as it is if that
// is shorter.
func (b *block) write(w *writer, tokens []token, content []byte, last bool) {
	b.literals[endSymbol] = 1
	b.literal.build(b.literals[:], longest)
	b.distance.build(b.distances[:], longest)
	literals, distances := used(b.literal.lengths[:literalCount], 257), used(b.distance.lengths[:distanceCount], 1)
	n := copy(b.lengths[:], b.literal.lengths[:literals])
	n += copy(b.lengths[n:], b.distance.lengths[:distances])
	b.pack(b.lengths[:n])
	precodes := precodeCount
	for precodes > 4 && b.precode.lengths[precodeOrder[precodes-1]] == 0 {
		precodes--
	}

	size := 3 + 14 + 3*precodes
	for _, p := range b.packed {
		size += int(b.precode.lengths[p&0xff]) + packedExtra(p)
	}
	for s, n := range b.literals {
		size += int(n) * int(b.literal.lengths[s]+lengthExtra[s])
	}
	for s, n := range b.distances {
		size += int(n) * int(b.distance.lengths[s]+distanceExtra[s])
	}
	final := uint64(0)
	if last {
		final = 1
	}
	if size/8 >= len(content)+5*(len(content)/maxStored+1) {
		w.stored(content, final)
		return
	}
	w.put(final|2<<1, 3)
	w.put(uint64(literals-257)|uint64(distances-1)<<5|uint64(precodes-4)<<10, 14)
	for _, s := range precodeOrder[:precodes] {
		w.put(uint64(b.precode.lengths[s]), 3)
	}
	for _, p := range b.packed {
		s := p & 0xff
		w.put(uint64(b.precode.words[s]), uint(b.precode.lengths[s]))
		w.put(uint64(p>>8), uint(packedExtra(p)))
	}
	b.writeTokens(w, tokens)
	w.put(uint64(b.literal.words[endSymbol]), uint(b.literal.lengths[endSymbol]))
}

func (b *block) writeTokens(w *writer, tokens []token) {
	p, at, acc, n := w.p, w.at, w.bits, w.n
	for _, t := range tokens {
		if t&tokenMatch == 0 {
			acc |= uint64(b.literal.words[t&255]) << (n & 63)
			n += uint(b.literal.lengths[t&255])
		} else {
			length, distance := uint16(t>>16&255), int(t&0xffff)
			s := lengthSymbols[length]
			acc |= (uint64(b.literal.words[s]) | uint64(length-lengthBase[s])<<b.literal.lengths[s]) << (n & 63)
			n += uint(b.literal.lengths[s] + lengthExtra[s])
			d := distanceSymbol(distance)
			// 7 bits of before, 20 for the length, 28 for the distance.
			acc |= (uint64(b.distance.words[d]) | uint64(uint16(distance-1)-distanceBase[d])<<b.distance.lengths[d]) << (n & 63)
			n += uint(b.distance.lengths[d] + distanceExtra[d])
		}
		binary.LittleEndian.PutUint64(p[at:], acc)
		at += int(n >> 3)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	w.at, w.bits, w.n = at, acc, n
}

// used returns how many lengths there are without the zeros at the end, but
// least at the least.
func used(lengths []uint8, least int) int {
	n := len(lengths)
	for n > least && lengths[n-1] == 0 {
		n--
	}
	return n
}

// packedExtra returns how many extra bits a packed length has.
func packedExtra(p uint16) int {
	switch p & 0xff {
	case 16:
		return 2
	case 17:
		return 3
	case 18:
		return 7
	}
	return 0
}

// pack says lengths in symbols of the precode, and makes that.
func (b *block) pack(lengths []uint8) {
	b.packed = b.packed[:0]
	var counts [precodeCount]uint32
	add := func(symbol, extra uint16) {
		b.packed = append(b.packed, symbol|extra<<8)
		counts[symbol]++
	}
	for i := 0; i < len(lengths); {
		v, n := lengths[i], 1
		for i+n < len(lengths) && lengths[i+n] == v {
			n++
		}
		i += n
		if v != 0 {
			add(uint16(v), 0)
			n--
		}
		for n > 0 {
			switch {
			case v == 0 && n >= 11:
				k := min(n, 138)
				add(18, uint16(k-11))
				n -= k
			case v == 0 && n >= 3:
				add(17, uint16(n-3))
				n = 0
			case v != 0 && n >= 3:
				k := min(n, 6)
				add(16, uint16(k-3))
				n -= k
			default:
				add(uint16(v), 0)
				n--
			}
		}
	}
	b.precode.build(counts[:], longestPre)
}

// A code is a canonical Huffman code, its words as they are written: first bit
// lowest.
type code struct {
	words   [literalCount]uint16
	lengths [literalCount]uint8
}

// build makes the code for symbols that occur so often, with no word longer
// than most bits. Two symbols get one at the least: a code of one word is not
// complete, which some decoders do not take.
func (c *code) build(counts []uint32, most int) {
	// Ascending by count, then symbol: count<<16 | symbol.
	var sorted [literalCount]uint64
	n := 0
	for s, count := range counts {
		c.lengths[s] = 0
		if count > 0 {
			sorted[n] = uint64(count)<<16 | uint64(s)
			n++
		}
	}
	for s := 0; n < 2; s++ {
		if counts[s] == 0 {
			sorted[n] = 1<<16 | uint64(s)
			n++
		}
	}
	slices.Sort(sorted[:n])
	var perLength [longest + 1]int
	countLengths(sorted[:n], perLength[:most+1])

	// The rarest symbols have the longest words.
	k := 0
	for length := most; length > 0; length-- {
		for range perLength[length] {
			c.lengths[sorted[k]&0xffff] = uint8(length)
			k++
		}
	}
	var next [longest + 2]uint16
	for length := 1; length <= most; length++ {
		next[length+1] = (next[length] + uint16(perLength[length])) << 1
	}
	for s := range counts {
		if length := c.lengths[s]; length > 0 {
			c.words[s] = bits.Reverse16(next[length]) >> (16 - length)
			next[length]++
		}
	}
}

// countLengths counts the words of each length of an optimal code for symbols
// in ascending order of their counts (count<<16 | symbol), bounded to what
// perLength has room for.
func countLengths(sorted []uint64, perLength []int) {
	// The tree is built in two queues: leaves, and inner nodes, which come into
	// being in the order of their counts. What is kept of a node is its parent.
	n := len(sorted)
	var weight [literalCount]uint64
	var parent [2 * literalCount]int16
	leaf, inner := 0, 0
	for made := range n - 1 {
		sum := uint64(0)
		for range 2 {
			if leaf < n && (inner >= made || sorted[leaf]>>16 <= weight[inner]) {
				sum += sorted[leaf] >> 16
				parent[leaf] = int16(made)
				leaf++
			} else {
				sum += weight[inner]
				parent[n+inner] = int16(made)
				inner++
			}
		}
		weight[made] = sum
	}
	most := len(perLength) - 1
	var depth [literalCount]uint16
	for k := n - 3; k >= 0; k-- { // the root is n-2
		depth[k] = depth[parent[n+k]] + 1
	}
	left := 1 << most // what words of most bits there are left
	for k := range n {
		d := min(int(depth[parent[k]])+1, most)
		perLength[d]++
		left -= 1 << (most - d)
	}
	// Words that were cut to most bits are too many: each step makes a shorter
	// word one longer, and takes one of the longest to its side.
	for left < 0 {
		d := most - 1
		for perLength[d] == 0 {
			d--
		}
		perLength[d]--
		perLength[d+1] += 2
		perLength[most]--
		left++
	}
}
