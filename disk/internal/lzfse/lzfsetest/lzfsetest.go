// Package lzfsetest makes LZFSE streams for tests: of every kind of block, well
// or badly compressed, and slowly.
package lzfsetest

import (
	"encoding/binary"
	"math/bits"
)

// End is how a stream ends.
const End = "bvx$"

// A run is some literals, and a match behind them.
type run struct {
	literals        []byte
	match, distance int
}

// runs cuts content into runs, of at most so many literals and so long a match,
// at no greater distance.
func runs(content []byte, mostLiterals, shortest, longest, farthest int) []run {
	var list []run
	last := map[uint32]int{} // where four bytes were seen last
	start, at := 0, 0
	for at < len(content) {
		length, distance := 0, 0
		if at+4 <= len(content) {
			key := binary.LittleEndian.Uint32(content[at:])
			if seen, ok := last[key]; ok && at-seen <= farthest {
				distance = at - seen
				for at+length < len(content) && length < longest && content[seen+length] == content[at+length] {
					length++
				}
			}
			last[key] = at
		}
		if length < shortest {
			length, distance = 0, 0
			at++
			if at-start < mostLiterals && at < len(content) {
				continue
			}
		}
		list = append(list, run{content[start:at], length, distance})
		at += length
		start = at
	}
	return list
}

// Stored returns content as a block that is not compressed.
func Stored(content []byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte("bvx-"), uint32(len(content))), content...)
}

// LZVN returns content as a block coded by LZVN, in which every kind of code
// may come up.
func LZVN(content []byte) []byte {
	var out []byte
	before := -1
	for k, r := range runs(content, 271, 3, 271, 65535) {
		if n := len(r.literals); n > 15 {
			out = append(append(out, 0xe0, byte(n-16)), r.literals...)
		} else if n > 3 || r.match == 0 {
			out = append(append(out, byte(0xe0|n)), r.literals...)
		}
		n, literals := 0, r.literals
		if len(literals) <= 3 && r.match > 0 {
			n = len(literals)
		} else {
			literals = nil
		}
		if r.match == 0 {
			continue
		}
		short := min(r.match, 10-2*n) // so that the code is none of another kind
		rest := r.match - short
		switch {
		case r.distance == before && n == 0:
			rest = r.match
		case r.distance == before:
			out = append(out, byte(n<<6|(short-3)<<3|6))
		case r.distance < 0x600 && k%3 > 0:
			out = append(out, byte(n<<6|(short-3)<<3|r.distance>>8), byte(r.distance))
		case r.distance < 1<<14 && k%2 > 0:
			short = min(r.match, 34)
			rest = r.match - short
			out = append(out, byte(0xa0|n<<3|(short-3)>>2), byte(r.distance<<2|(short-3)&3), byte(r.distance>>6))
		default:
			out = append(out, byte(n<<6|(short-3)<<3|7), byte(r.distance), byte(r.distance>>8))
		}
		out = append(out, literals...)
		if rest > 15 {
			out = append(out, 0xf0, byte(rest-16))
		} else if rest > 0 {
			out = append(out, byte(0xf0|rest))
		}
		before = r.distance
		out = append(out, []byte{0x0e, 0x16}[k%2])
	}
	out = append(out, 0x06, 0, 0, 0, 0, 0, 0, 0)
	head := binary.LittleEndian.AppendUint32([]byte("bvxn"), uint32(len(content)))
	return append(binary.LittleEndian.AppendUint32(head, uint32(len(out))), out...)
}

// An alphabet is a kind of symbol: how many states it is coded with, and how
// values are made of it.
type alphabet struct {
	states int
	extra  []int
}

var (
	lengths   = alphabet{64, append(make([]int, 16), 2, 3, 5, 8)}
	matches   = alphabet{64, append(make([]int, 16), 3, 5, 8, 11)}
	distances = func() alphabet {
		a := alphabet{256, make([]int, 64)}
		for k := range a.extra {
			a.extra[k] = k / 4
		}
		return a
	}()
	bytes = alphabet{1024, make([]int, 256)}
)

// split returns the symbol of a value and what has to be added to its base.
func (a alphabet) split(value int) (symbol, rest int) {
	base := 0
	for s, extra := range a.extra {
		if value < base+1<<extra {
			return s, value - base
		}
		base += 1 << extra
	}
	panic("value out of range")
}

// A coder codes values of one alphabet, the last one first.
type coder struct {
	alphabet
	freq        []int
	first       []int // state of each symbol
	state       int
	shift, from []int // of each state: bits to the next one, and the least of these
}

// newCoder returns a coder whose frequencies fit the values.
func newCoder(a alphabet, values []int) *coder {
	c := &coder{alphabet: a, freq: make([]int, len(a.extra)), first: make([]int, len(a.extra))}
	count := make([]int, len(a.extra))
	for _, v := range values {
		s, _ := a.split(v)
		count[s]++
	}
	left, most := a.states, 0
	for s, n := range count {
		if n > 0 {
			c.freq[s] = max(1, n*(a.states-len(count))/len(values))
			left -= c.freq[s]
		}
		if n > count[most] {
			most = s
		}
	}
	if c.freq[most] += left; c.freq[most] < 1 {
		panic("too many symbols")
	}
	for s, f := range c.freq {
		c.first[s] = len(c.from)
		if f == 0 {
			continue
		}
		shift := bits.Len(uint(a.states)) - bits.Len(uint(f))
		for k := range f {
			if n := 2*a.states>>shift - f; k < n {
				c.shift, c.from = append(c.shift, shift), append(c.from, (f+k)<<shift-a.states)
			} else {
				c.shift, c.from = append(c.shift, shift-1), append(c.from, (k-n)<<(shift-1))
			}
		}
	}
	return c
}

// put writes what leads from the state before the current one, that of value,
// to the current one.
func (c *coder) put(w *bitWriter, value int) {
	s, rest := c.split(value)
	w.put(rest, c.extra[s])
	for k := c.first[s]; k < c.first[s]+c.freq[s]; k++ {
		if c.state >= c.from[k] && c.state < c.from[k]+1<<c.shift[k] {
			w.put(c.state-c.from[k], c.shift[k])
			c.state = k
			return
		}
	}
	panic("no state leads to the next")
}

// A bitWriter writes bits from the lowest of each byte on.
type bitWriter struct {
	out  []byte
	bits int
}

func (w *bitWriter) put(v, n int) {
	for k := range n {
		if w.bits%8 == 0 {
			w.out = append(w.out, 0)
		}
		w.out[w.bits/8] |= byte(v >> k & 1 << (w.bits % 8))
		w.bits++
	}
}

// unused returns minus the number of bits that the last byte has left.
func (w *bitWriter) unused() int { return w.bits - 8*len(w.out) }

// V1 and V2 return content, of at most 10000 bytes, as a block of either
// version.
func V1(content []byte) []byte { return block(content).v1() }

// V2 is described at V1.
func V2(content []byte) []byte { return block(content).v2() }

type coded struct {
	size             int
	literals         int
	literalStates    [4]int
	runs             int
	l, m, d          *coder
	freq             []int
	literalBits, lmd bitWriter
}

func block(content []byte) *coded {
	c := &coded{size: len(content)}
	var ls, ms, ds, literals []int
	before := 0
	for _, r := range runs(content, 315, 4, 2359, 262139) {
		ls, ms = append(ls, len(r.literals)), append(ms, r.match)
		if r.distance == before || r.match == 0 {
			ds = append(ds, 0)
		} else {
			ds = append(ds, r.distance)
			before = r.distance
		}
		for _, b := range r.literals {
			literals = append(literals, int(b))
		}
	}
	for len(literals)%4 != 0 {
		literals = append(literals, 0)
	}
	c.literals, c.runs = len(literals), len(ls)
	c.l, c.m, c.d = newCoder(lengths, ls), newCoder(matches, ms), newCoder(distances, ds)
	c.lmd.put(0, 64) // Apple's encoder leaves room here, and 7-Zip counts on it
	for k := len(ls) - 1; k >= 0; k-- {
		c.d.put(&c.lmd, ds[k])
		c.m.put(&c.lmd, ms[k])
		c.l.put(&c.lmd, ls[k])
	}
	lit := newCoder(bytes, literals)
	for k := len(literals) - 1; k >= 0; k-- {
		lit.state = c.literalStates[k%4]
		lit.put(&c.literalBits, literals[k])
		c.literalStates[k%4] = lit.state
	}
	c.freq = append(append(append(append(c.freq, c.l.freq...), c.m.freq...), c.d.freq...), lit.freq...)
	return c
}

func (c *coded) payload(head []byte) []byte {
	return append(append(head, c.literalBits.out...), c.lmd.out...)
}

func (c *coded) v1() []byte {
	out := []byte("bvx1")
	for _, n := range []int{
		c.size, len(c.literalBits.out) + len(c.lmd.out), c.literals, c.runs,
		len(c.literalBits.out), len(c.lmd.out), c.literalBits.unused(),
	} {
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
	}
	for _, s := range c.literalStates {
		out = binary.LittleEndian.AppendUint16(out, uint16(s))
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(c.lmd.unused()))
	for _, n := range append([]int{c.l.state, c.m.state, c.d.state}, c.freq...) {
		out = binary.LittleEndian.AppendUint16(out, uint16(n))
	}
	return c.payload(append(out, 0, 0))
}

func (c *coded) v2() []byte {
	var freq bitWriter
	for _, f := range c.freq {
		putFrequency(&freq, f)
	}
	var v [3]uint64
	v[0] = uint64(c.literals) | uint64(len(c.literalBits.out))<<20 | uint64(c.runs)<<40 | uint64(c.literalBits.unused()+7)<<60
	v[1] = uint64(len(c.lmd.out))<<40 | uint64(c.lmd.unused()+7)<<60
	for k, s := range c.literalStates {
		v[1] |= uint64(s) << (10 * k)
	}
	v[2] = uint64(32+len(freq.out)) | uint64(c.l.state)<<32 | uint64(c.m.state)<<42 | uint64(c.d.state)<<52
	out := binary.LittleEndian.AppendUint32([]byte("bvx2"), uint32(c.size))
	for _, n := range v {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return c.payload(append(out, freq.out...))
}

func putFrequency(w *bitWriter, f int) {
	switch {
	case f < 2:
		w.put(2*f, 2)
	case f < 4:
		w.put(1+(f-2)<<2, 3)
	case f < 8:
		w.put(3+(f-4)<<3, 5)
	case f < 24:
		w.put(7+(f-8)<<4, 8)
	default:
		w.put(15+(f-24)<<4, 14)
	}
}
