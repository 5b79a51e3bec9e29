// Package deflate compresses units that are whole in memory: clusters, grains.
// The window is chosen by the caller, since some formats are read with a small
// one. Equal input gives equal output.
package deflate

import (
	"encoding/binary"
	"hash/adler32"
	"math/bits"
)

// A Level says how hard an [Encoder] tries.
type Level int

// Levels.
const (
	Fast Level = iota // four times as fast as zlib's default, output 3 to 6 % larger
	Best              // twice as fast, output about as large
)

// LevelFor returns Best, or Fast if that is not asked for.
func LevelFor(best bool) Level {
	if best {
		return Best
	}
	return Fast
}

// MaxWindow is the largest window of deflate in bytes (RFC 1951, 2).
const MaxWindow = 32 << 10

// Lengths of matches (RFC 1951, 3.2.5).
const (
	minMatch = 3
	maxMatch = 258
)

const (
	hashBits  = 14
	hash3Bits = 12
)

// effort is what a level stands for.
type effort struct {
	depth   int // candidates that are looked at; 0 is the one that parseFast does
	nice    int // length that is good enough to look no further
	lazy    int // length below which the next position is tried as well
	far     int // a match of three bytes from farther away does not pay
	covered int // of a match, only as many positions at its end are made known
}

var efforts = [...]effort{
	Fast: {lazy: 16, far: 512, covered: 32},
	Best: {depth: 4, nice: 32, lazy: 8, far: 2048, covered: 32},
}

// An Encoder compresses one unit after the other, each on its own. Not for
// concurrent use.
type Encoder struct {
	effort
	window int32

	// Positions are those of the unit plus base, which is beyond the window of
	// all positions of units before.
	base  int32
	head  [1 << hashBits]int32  // last position with a hash of four bytes
	head3 [1 << hash3Bits]int32 // and of three
	prev  []int32               // position before it with the same hash, by position modulo window

	tokens []token
	block  block
	out    writer
}

// A token is a literal, or a match: 1<<31, length-3 from bit 16 on, distance
// from bit 0 on.
type token uint32

const tokenMatch = 1 << 31

// New returns an encoder for matches at most window bytes back, a power of 2 up
// to MaxWindow.
func New(window int, level Level) *Encoder {
	return &Encoder{
		effort: efforts[level], window: int32(window), base: int32(window),
		prev: make([]int32, window), tokens: make([]token, 0, maxTokens+maxMatch),
	}
}

// Append appends a deflate stream of src (RFC 1951) to dst.
func (e *Encoder) Append(dst, src []byte) []byte {
	const renew = 1 << 30
	if e.base > renew || len(src) > renew/2 {
		clear(e.head[:])
		clear(e.head3[:])
		e.base = e.window
	}
	e.out.begin(dst, len(src))
	for start := 0; ; {
		parse := e.parse
		if e.depth == 0 {
			parse = e.parseFast
		}
		end := parse(src, start)
		e.block.write(&e.out, e.tokens, src[start:end], end == len(src))
		if start = end; start == len(src) {
			break
		}
	}
	e.base += int32(len(src)) + e.window
	return e.out.end()
}

// AppendZlib appends a zlib stream of src (RFC 1950) to dst.
func (e *Encoder) AppendZlib(dst, src []byte) []byte {
	header := uint16(8|(bits.Len32(uint32(e.window))-9)<<4)<<8 | 2<<6
	dst = binary.BigEndian.AppendUint16(dst, header+31-header%31)
	dst = e.Append(dst, src)
	return binary.BigEndian.AppendUint32(dst, adler32.Checksum(src))
}

func load32(p []byte, at int) uint32 { return binary.LittleEndian.Uint32(p[at:]) }
func load64(p []byte, at int) uint64 { return binary.LittleEndian.Uint64(p[at:]) }

// tail is how many bytes at the end of a unit are literals: what is loaded in
// words must be there.
const tail = 8

// parse makes the tokens of the next block, and returns where that ends.
func (e *Encoder) parse(src []byte, start int) int {
	e.tokens = e.tokens[:0]
	e.block.begin()
	pos, last := start, len(src)-tail
	split := newSplitter(start)
	for pos < last {
		length, distance := e.find(src, pos, minMatch-1, e.depth)
		if length < minMatch {
			e.literal(src[pos])
			split.literal(src[pos])
			pos++
		} else {
			for length < e.lazy && pos+1 < last {
				n, d := e.find(src, pos+1, length-1, e.depth/2)
				// A longer distance takes more bits.
				if n < minMatch || 4*(n-length)+bits.Len(uint(distance))-bits.Len(uint(d)) <= 2 {
					e.match(length, distance)
					split.match(length)
					e.cover(src, pos+2, min(pos+length, last))
					pos += length
					length = 0
					break
				}
				e.literal(src[pos])
				split.literal(src[pos])
				pos++
				length, distance = n, d
			}
			if length > 0 {
				e.match(length, distance)
				split.match(length)
				e.cover(src, pos+1, min(pos+length, last))
				pos += length
			}
		}
		if len(e.tokens) >= maxTokens || split.due(pos, len(src)) {
			return pos
		}
	}
	for ; pos < len(src); pos++ {
		if len(e.tokens) >= maxTokens {
			return pos
		}
		e.literal(src[pos])
	}
	return pos
}

func (e *Encoder) literal(c byte) {
	e.tokens = append(e.tokens, token(c))
	e.block.literals[c]++
}

func (e *Encoder) match(length, distance int) {
	e.tokens = append(e.tokens, token(tokenMatch|(length-minMatch)<<16|distance))
	e.block.literals[lengthSymbols[length-minMatch]]++
	e.block.distances[distanceSymbol(distance)]++
}

// The masks spare the check of the index.
func hash4(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - hashBits) & (1<<hashBits - 1) }
func hash3(v uint32) uint32 { return v << 8 * 0x9e3779b1 >> (32 - hash3Bits) & (1<<hash3Bits - 1) }

// find makes pos known, and returns the best match there of more than best
// bytes, and 0 if there is none.
func (e *Encoder) find(src []byte, pos, best, depth int) (length, distance int) {
	v := load32(src, pos)
	at := e.base + int32(pos)
	limit := at - e.window
	h, h3 := hash4(v), hash3(v)
	candidate, near := e.head[h], e.head3[h3]
	prev := e.prev
	mask := int32(len(prev) - 1)
	prev[at&mask] = candidate
	e.head[h], e.head3[h3] = at, at

	most := min(maxMatch, len(src)-pos)
	if best < minMatch && near > limit && at-near <= int32(e.far) {
		if from := int(near - e.base); (load32(src, from)^v)<<8 == 0 {
			best, length, distance = minMatch, minMatch, int(at-near)
		}
	}
	best = max(best, minMatch)
	if best >= most {
		return length, distance
	}
	end := load32(src, pos+best-3)
	for ; candidate > limit && depth > 0; depth-- {
		from := int(candidate - e.base)
		if load32(src, from+best-3) == end && load32(src, from) == v {
			n := matchLength(src, from, pos, 4)
			if n > best {
				best, length, distance = n, n, int(at-candidate)
				if n >= e.nice || n == most {
					break
				}
				end = load32(src, pos+best-3)
			}
		}
		candidate = prev[candidate&mask]
	}
	return length, distance
}

// cover makes the positions known that a match covers: of a long one, the last.
func (e *Encoder) cover(src []byte, from, to int) {
	mask := e.window - 1
	for pos := max(from, to-e.covered); pos < to; pos++ {
		v := load32(src, pos)
		at := e.base + int32(pos)
		h := hash4(v)
		e.prev[at&mask] = e.head[h]
		e.head[h] = at
		e.head3[hash3(v)] = at
	}
}
