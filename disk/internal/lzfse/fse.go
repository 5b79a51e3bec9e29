package lzfse

import (
	"encoding/binary"
	"math/bits"
)

// The alphabets: lengths of runs of literals (L), of matches (M), distances (D)
// and literals, and the number of states that each is coded with.
const (
	symbolsL, statesL             = 20, 64
	symbolsM, statesM             = 20, 64
	symbolsD, statesD             = 64, 256
	symbolsLiteral, statesLiteral = 256, 1024

	symbols = symbolsL + symbolsM + symbolsD + symbolsLiteral

	// A block has at most this many literals and matches.
	maxLiterals = 4 * 10000
	maxMatches  = 10000
)

// A value of L, M or D is the base of its symbol and as many bits more.
var (
	extraL = [symbolsL]uint8{16: 2, 3, 5, 8}
	extraM = [symbolsM]uint8{16: 3, 5, 8, 11}
	extraD = func() (e [symbolsD]uint8) {
		for k := range e {
			e[k] = uint8(k / 4)
		}
		return e
	}()
	baseL, baseM, baseD = bases(extraL[:]), bases(extraM[:]), bases(extraD[:])
)

func bases(extra []uint8) []uint32 {
	b := make([]uint32, len(extra))
	for k := range b[1:] {
		b[k+1] = b[k] + 1<<extra[k]
	}
	return b
}

// A header is that of a block of either version.
type header struct {
	size                      int // of the header itself
	literals, matches         int
	literalBytes, matchBytes  int
	literalUnused, lmdUnused  int // -7 to 0; see newBitReader
	literalStates             [4]uint32
	stateL, stateM, stateD    uint32
	freqL, freqM, freqD, freq []uint16
}

const (
	fixedV1 = 48 + 2 // of which the last two bytes are those of the state of D
	sizeV1  = fixedV1 + 2*symbols + 2
	sizeV2  = 32 // without the frequencies
)

// headerV1 reads a header of version 1.
func headerV1(p []byte) (h header, err error) {
	if len(p) < sizeV1 {
		return h, errShort
	}
	le := binary.LittleEndian
	number := func(at int) int { return int(min(le.Uint32(p[at:]), 1<<30)) }
	h = header{
		size: sizeV1, literals: number(12), matches: number(16), literalBytes: number(20), matchBytes: number(24),
		literalUnused: int(int32(le.Uint32(p[28:]))), lmdUnused: int(int32(le.Uint32(p[40:]))),
		stateL: uint32(le.Uint16(p[44:])), stateM: uint32(le.Uint16(p[46:])), stateD: uint32(le.Uint16(p[48:])),
	}
	for k := range h.literalStates {
		h.literalStates[k] = uint32(le.Uint16(p[32+2*k:]))
	}
	freq := make([]uint16, symbols)
	for k := range freq {
		freq[k] = le.Uint16(p[fixedV1+2*k:])
	}
	h.setFrequencies(freq)
	return h, h.check()
}

// headerV2 reads a header of version 2.
func headerV2(p []byte) (h header, err error) {
	if len(p) < sizeV2 {
		return h, errShort
	}
	var v [3]uint64
	for k := range v {
		v[k] = binary.LittleEndian.Uint64(p[8+8*k:])
	}
	field := func(word, at, n int) uint32 { return uint32(v[word] >> at & (1<<n - 1)) }
	h = header{
		size: int(min(field(2, 0, 32), 1<<30)), literals: int(field(0, 0, 20)), matches: int(field(0, 40, 20)),
		literalBytes: int(field(0, 20, 20)), matchBytes: int(field(1, 40, 20)),
		literalUnused: int(field(0, 60, 3)) - 7, lmdUnused: int(field(1, 60, 3)) - 7,
		stateL: field(2, 32, 10), stateM: field(2, 42, 10), stateD: field(2, 52, 10),
	}
	for k := range h.literalStates {
		h.literalStates[k] = field(1, 10*k, 10)
	}
	if h.size < sizeV2 || h.size > len(p) {
		return h, errHeader
	}
	freq, err := unpackFrequencies(p[sizeV2:h.size])
	if err != nil {
		return h, err
	}
	h.setFrequencies(freq)
	return h, h.check()
}

func (h *header) setFrequencies(f []uint16) {
	h.freqL, f = f[:symbolsL], f[symbolsL:]
	h.freqM, f = f[:symbolsM], f[symbolsM:]
	h.freqD, h.freq = f[:symbolsD], f[symbolsD:]
}

// unpackFrequencies reads frequencies coded with 2 to 14 bits each, from the
// lowest bit of each byte on.
func unpackFrequencies(p []byte) ([]uint16, error) {
	freq := make([]uint16, symbols)
	if len(p) == 0 {
		return freq, nil
	}
	var v uint32
	n := 0
	for k := range freq {
		for len(p) > 0 && n <= 24 {
			v |= uint32(p[0]) << n
			p, n = p[1:], n+8
		}
		value, width := frequency(v)
		if width > n {
			return nil, errShort
		}
		freq[k], v, n = value, v>>width, n-width
	}
	if n >= 8 || len(p) > 0 {
		return nil, errHeader
	}
	return freq, nil
}

// frequency returns the number that v begins with, and how many bits it takes.
func frequency(v uint32) (value uint16, width int) {
	switch v & 3 {
	case 0:
		return 0, 2
	case 2:
		return 1, 2
	}
	switch v & 7 {
	case 1:
		return 2, 3
	case 5:
		return 3, 3
	}
	if v&7 == 3 {
		return uint16(4 + v>>3&3), 5
	}
	if v&15 == 7 {
		return uint16(8 + v>>4&15), 8
	}
	return uint16(24 + v>>4&0x3ff), 14
}

func (h *header) check() error {
	bad := h.literals > maxLiterals || h.literals%4 != 0 || h.matches > maxMatches ||
		h.stateL >= statesL || h.stateM >= statesM || h.stateD >= statesD
	for _, s := range h.literalStates {
		bad = bad || s >= statesLiteral
	}
	if bad {
		return errHeader
	}
	return nil
}

// An entry says what a state of a decoder means: a symbol, how many bits give
// the next state, and what to add to them.
type entry struct {
	bits  int
	delta int
	extra int    // bits of the value
	base  uint32 // the symbol, or the base of the value
}

// newTable returns the states of a decoder for symbols of these frequencies.
func newTable(freq []uint16, states int, extra []uint8, base []uint32) ([]entry, error) {
	table := make([]entry, 0, states)
	for symbol, f := range freq {
		f := int(f)
		if f == 0 {
			continue
		}
		if f > states-len(table) {
			return nil, errHeader
		}
		shift := bits.Len(uint(states)) - bits.Len(uint(f)) // states <= f<<shift < 2*states
		longer := 2*states>>shift - f
		e := entry{base: uint32(symbol)}
		if extra != nil {
			e.extra, e.base = int(extra[symbol]), base[symbol]
		}
		for k := range f {
			if k < longer {
				e.bits, e.delta = shift, (f+k)<<shift-states
			} else {
				e.bits, e.delta = shift-1, (k-longer)<<(shift-1)
			}
			table = append(table, e)
		}
	}
	return append(table, make([]entry, states-len(table))...), nil
}

// next returns the value of a state, and steps to the next one.
func next(table []entry, state *uint32, r *bitReader) uint32 {
	e := table[*state]
	v := r.pull(e.bits + e.extra)
	*state = uint32(e.delta) + v>>e.extra
	return e.base + v&(1<<e.extra-1)
}

// block appends a block whose header parse reads, and returns what follows it.
func (d *decoder) block(src []byte, parse func([]byte) (header, error)) ([]byte, error) {
	h, err := parse(src)
	if err != nil {
		return nil, err
	}
	raw := binary.LittleEndian.Uint32(src[4:])
	src = src[h.size:]
	if h.literalBytes+h.matchBytes > len(src) {
		return nil, errShort
	}
	literals, err := h.readLiterals(src[:h.literalBytes])
	if err != nil {
		return nil, err
	}
	src = src[h.literalBytes:]
	start := len(d.out)
	if err := d.matches(&h, src[:h.matchBytes], literals); err != nil {
		return nil, err
	}
	if uint64(len(d.out)-start) != uint64(raw) {
		return nil, errLess
	}
	return src[h.matchBytes:], nil
}

// readLiterals decodes the literals of a block, which four coders wrote in turn.
func (h *header) readLiterals(p []byte) ([]byte, error) {
	table, err := newTable(h.freq, statesLiteral, nil, nil)
	if err != nil {
		return nil, err
	}
	r, err := newBitReader(p, h.literalUnused)
	if err != nil {
		return nil, err
	}
	out := make([]byte, h.literals)
	states := h.literalStates
	for k := range out {
		out[k] = byte(next(table, &states[k%4], r))
	}
	if r.over() {
		return nil, errBits
	}
	return out, nil
}

// matches appends what a block's matches stand for: each is a run of literals
// and a reference.
func (d *decoder) matches(h *header, p, literals []byte) error {
	tableL, errL := newTable(h.freqL, statesL, extraL[:], baseL)
	tableM, errM := newTable(h.freqM, statesM, extraM[:], baseM)
	tableD, errD := newTable(h.freqD, statesD, extraD[:], baseD)
	if errL != nil || errM != nil || errD != nil {
		return errHeader
	}
	r, err := newBitReader(p, h.lmdUnused)
	if err != nil {
		return err
	}
	stateL, stateM, stateD := h.stateL, h.stateM, h.stateD
	distance := 0
	for range h.matches {
		n, m, far := next(tableL, &stateL, r), next(tableM, &stateM, r), next(tableD, &stateD, r)
		if r.over() || int(n) > len(literals) {
			return errBits
		}
		if err := d.literals(literals[:n]); err != nil {
			return err
		}
		literals = literals[n:]
		if far != 0 { // 0 is that of the match before
			distance = int(far)
		}
		if err := d.match(int(m), distance); err != nil {
			return err
		}
	}
	return nil
}
