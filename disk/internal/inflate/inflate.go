// Package inflate decompresses units of known length: clusters, grains, chunks.
// Input and output are whole in memory, which is what it is fast by: no window
// is kept, nothing is copied twice, and the bits of the stream are taken eight
// bytes at a time.
//
// It takes what zlib takes, and gives what zlib gives.
package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"sync"
)

// Errors of streams.
var (
	ErrLength   = errors.New("compressed data ends early")      // it holds less than it should
	ErrCorrupt  = errors.New("compressed data is damaged")      // no deflate or zlib stream
	ErrChecksum = errors.New("checksum of data does not match") // zlib only
	ErrMore     = errors.New("compressed data goes on")         // ZlibWhole only: it holds more than it should
)

// What zlib refuses, and Go's libraries do not.
var (
	errPrecode = fmt.Errorf("%w: code of code lengths is not complete", ErrCorrupt)
	errNoEnd   = fmt.Errorf("%w: code has no end of block", ErrCorrupt)
)

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// Raw fills dst from the deflate stream at the start of src (RFC 1951). What
// the stream holds beyond that is not looked at. On an error dst may hold
// anything.
func Raw(dst, src []byte) error {
	if len(dst) == 0 {
		return nil
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	d.src, d.dst = src, dst
	return d.run()
}

// Zlib fills dst from the zlib stream at the start of src (RFC 1950). The
// checksum at its end is verified when the stream holds just len(dst) bytes.
func Zlib(dst, src []byte) error {
	_, err := unwrap(dst, src)
	return err
}

// ZlibWhole is [Zlib] for a stream that has to hold just len(dst) bytes.
func ZlibWhole(dst, src []byte) error {
	ended, err := unwrap(dst, src)
	if err == nil && !ended {
		return ErrMore
	}
	return err
}

// unwrap is Zlib; ended says that dst is all that the stream holds.
func unwrap(dst, src []byte) (ended bool, err error) {
	if len(src) < 2 {
		return false, ErrLength
	}
	const (
		method     = 8      // deflate, low 4 bits of the first byte
		maxWindow  = 7      // 32 KiB, high 4 bits
		dictionary = 1 << 5 // of the second byte
	)
	if src[0]&15 != method || src[0]>>4 > maxWindow || src[1]&dictionary != 0 || binary.BigEndian.Uint16(src)%31 != 0 {
		return false, ErrCorrupt
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	d.src, d.dst, d.toEnd = src[2:], dst, true
	if err := d.run(); err != nil || !d.ended {
		return false, err
	}
	rest := d.src[d.pos-int(d.n/8):] // whole bytes that were taken ahead
	if len(rest) < 4 {
		return false, ErrLength
	}
	if binary.BigEndian.Uint32(rest) != adler32.Checksum(dst) {
		return false, ErrChecksum
	}
	return true, nil
}

// A decoder reads one stream at a time.
type decoder struct {
	src, dst []byte
	pos, out int    // how far they have been dealt with
	bits     uint64 // taken from src, the next one lowest
	n        uint   // how many of them there are; the others are zeros
	toEnd    bool   // to go on when dst is full, to see whether the stream ends there
	ended    bool   // it has

	tables  tables
	precode [precodeSize]uint32
	lengths [literals + distances]byte
}

func (d *decoder) release() {
	d.src, d.dst, d.pos, d.out, d.bits, d.n, d.toEnd, d.ended = nil, nil, 0, 0, 0, 0, false, false
	decoders.Put(d)
}

// run decodes until dst is full, or the stream ends.
func (d *decoder) run() error {
	for !d.ended && (d.toEnd || d.out < len(d.dst)) {
		header, err := d.take(3)
		if err != nil {
			return err
		}
		last := header&1 != 0
		how := goesOn
		switch header >> 1 {
		case 0:
			how, err = d.stored()
		case 1:
			how, err = d.block(fixed())
		case 2:
			if err = d.readTables(); err == nil {
				how, err = d.block(&d.tables)
			}
		default:
			err = ErrCorrupt
		}
		if err != nil || how == full {
			return err
		}
		d.ended = last
	}
	if d.out < len(d.dst) {
		return ErrLength
	}
	return nil
}

// fill takes bytes of src until there are at least 56 bits, or no more.
func (d *decoder) fill() {
	for d.n < 56 && d.pos < len(d.src) {
		d.bits |= uint64(d.src[d.pos]) << d.n
		d.n += 8
		d.pos++
	}
}

// take returns the next n bits, 16 at the most.
func (d *decoder) take(n uint) (uint, error) {
	if d.n < n {
		if d.fill(); d.n < n {
			return 0, ErrLength
		}
	}
	v := d.bits & (1<<n - 1)
	d.bits >>= n
	d.n -= n
	return uint(v), nil
}

// stored copies a block that is not compressed (RFC 1951, 3.2.4), as far as dst
// goes.
func (d *decoder) stored() (outcome, error) {
	d.drop(d.n % 8)
	length, err := d.take(16)
	if err != nil {
		return goesOn, err
	}
	inverse, err := d.take(16)
	if err != nil {
		return goesOn, err
	}
	if length^inverse != 0xffff {
		return goesOn, ErrCorrupt
	}
	d.pos -= int(d.n / 8)
	d.bits, d.n = 0, 0
	want := min(int(length), len(d.dst)-d.out)
	n := copy(d.dst[d.out:][:want], d.src[d.pos:])
	d.pos += n
	d.out += n
	switch {
	case n < want:
		return goesOn, ErrLength
	case want < int(length):
		return full, nil
	}
	return blockEnds, nil
}

// precodeOrder is the order of the lengths of the precode (RFC 1951, 3.2.7).
var precodeOrder = [precodes]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readTables reads the codes of a block (RFC 1951, 3.2.7).
func (d *decoder) readTables() error {
	counts, err := d.take(14)
	if err != nil {
		return err
	}
	literalCount, distanceCount := 257+counts&31, 1+counts>>5&31
	if literalCount > 286 || distanceCount > 30 {
		return ErrCorrupt
	}
	var lengths [precodes]byte
	for i := range 4 + counts>>10 {
		n, err := d.take(3)
		if err != nil {
			return err
		}
		lengths[precodeOrder[i]] = byte(n)
	}
	if !complete(lengths[:]) {
		return errPrecode
	}
	if !build(d.precode[:], precodeBits, lengths[:], precodeEntries[:]) {
		return ErrCorrupt
	}
	if err := d.readLengths(literalCount + distanceCount); err != nil {
		return err
	}
	if d.lengths[endSymbol] == 0 {
		return errNoEnd
	}
	if !build(d.tables.literal[:], literalBits, d.lengths[:literalCount], literalEntries[:]) ||
		!build(d.tables.distance[:], distanceBits, d.lengths[literalCount:][:distanceCount], distanceEntries[:]) {
		return ErrCorrupt
	}
	return nil
}

// complete reports whether code words of these lengths leave none unused.
func complete(lengths []byte) bool {
	used := 0
	for _, n := range lengths {
		if n > 0 {
			used += 1 << (precodeBits - n)
		}
	}
	return used == 1<<precodeBits
}

// readLengths reads the lengths of the code words of both codes.
func (d *decoder) readLengths(count uint) error {
	for i := uint(0); i < count; {
		d.fill()
		entry := d.precode[d.bits&(precodeSize-1)]
		n := uint(entry & 0xff)
		symbol := entry >> 16
		var extra, least uint
		switch symbol {
		case 16:
			extra, least = 2, 3
		case 17:
			extra, least = 3, 3
		case 18:
			extra, least = 7, 11
		}
		if n+extra > d.n {
			return ErrLength
		}
		times := least + uint(d.bits>>n)&(1<<extra-1)
		d.bits >>= n + extra
		d.n -= n + extra
		if symbol < 16 {
			d.lengths[i] = byte(symbol)
			i++
			continue
		}
		value := byte(0)
		if symbol == 16 {
			if i == 0 {
				return ErrCorrupt
			}
			value = d.lengths[i-1]
		}
		if i+times > count {
			return ErrCorrupt
		}
		for range times {
			d.lengths[i] = value
			i++
		}
	}
	return nil
}

// An outcome says how a block came to an end.
type outcome int

const (
	goesOn    outcome = iota // it has not, but there may be little room left
	blockEnds                // with its last code word
	full                     // with more than dst has room for
)

// block decodes a compressed block, as far as dst goes.
func (d *decoder) block(t *tables) (outcome, error) {
	if how, err := d.quick(t); how != goesOn || err != nil {
		return how, err
	}
	for {
		if d.out == len(d.dst) && !d.toEnd {
			return full, nil
		}
		d.fill()
		entry, n := d.next(t.literal[:], literalBits)
		switch {
		case n > d.n:
			return goesOn, ErrLength
		case entry&entryEnd != 0:
			d.drop(n)
			return blockEnds, nil
		case entry&entrySpecial != 0:
			return goesOn, ErrCorrupt
		case d.out == len(d.dst):
			return full, nil
		case entry&entryLiteral != 0:
			d.dst[d.out] = byte(entry >> 16)
			d.out++
			d.drop(n)
			continue
		}
		length := d.value(entry, n)
		d.drop(n)
		d.fill()
		entry, n = d.next(t.distance[:], distanceBits)
		if n > d.n {
			return goesOn, ErrLength
		}
		distance := d.value(entry, n)
		d.drop(n)
		if entry&entrySpecial != 0 || distance > d.out {
			return goesOn, ErrCorrupt
		}
		if how := d.match(d.out, distance, length); how != goesOn {
			return how, nil
		}
	}
}

// match copies length bytes from distance bytes before out, as far as dst goes.
func (d *decoder) match(out, distance, length int) outcome {
	end := min(out+length, len(d.dst))
	for d.out = out; d.out < end; d.out++ {
		d.dst[d.out] = d.dst[d.out-distance]
	}
	if end-out < length {
		return full
	}
	return goesOn
}

// next looks the next code word up. It returns its entry and how many bits it
// takes, extra bits included.
func (d *decoder) next(table []uint32, mainBits uint) (entry uint32, n uint) {
	entry = table[d.bits&(1<<mainBits-1)]
	if entry&entryPart != 0 {
		at := entry>>16 + uint32(d.bits>>mainBits)&(1<<(entry&0xff)-1)
		entry = table[at]
		return entry, mainBits + uint(entry&0xff)
	}
	return entry, uint(entry & 0xff)
}

// value returns what an entry of n bits stands for, with its extra bits.
func (d *decoder) value(entry uint32, n uint) int {
	extra := uint(entry&0xff) - uint(entry>>8&15)
	return int(entry>>16) + int(d.bits>>(n-extra)&(1<<extra-1))
}

func (d *decoder) drop(n uint) {
	d.bits >>= n
	d.n -= n
}
