// Package lzfse decompresses LZFSE streams, those of Apple's libcompression:
// blocks that are stored, coded by LZVN, or coded by LZ77 and finite state
// entropy. The layout is that of Apple's reference implementation (lzfse 1.0,
// lzfse_internal.h), which is its specification.
package lzfse

import (
	"encoding/binary"
	"errors"
)

// Each block begins with a magic number of four bytes.
const (
	magicEnd    = "bvx$"
	magicStored = "bvx-"
	magicV1     = "bvx1" // frequencies of symbols as they are
	magicV2     = "bvx2" // header packed, frequencies compressed
	magicLZVN   = "bvxn"
)

var (
	errShort    = errors.New("lzfse: compressed data ends early")
	errMagic    = errors.New("lzfse: unknown block")
	errHeader   = errors.New("lzfse: invalid block header")
	errBits     = errors.New("lzfse: invalid bit stream")
	errDistance = errors.New("lzfse: reference to what comes before the start")
	errLength   = errors.New("lzfse: more content than there should be")
	errLess     = errors.New("lzfse: less content than there should be")
	errOpcode   = errors.New("lzfse: undefined LZVN code")
)

// Decode decompresses the stream at the start of src, appends its content to
// dst, and returns that. It must be size bytes long, and no more are ever
// appended. References reach back to what was there in dst.
func Decode(dst, src []byte, size int) ([]byte, error) {
	d := decoder{out: dst, most: len(dst) + size}
	for {
		if len(src) < 4 {
			return nil, errShort
		}
		var err error
		switch string(src[:4]) {
		case magicEnd:
			if len(d.out) != d.most {
				return nil, errLess
			}
			return d.out, nil
		case magicStored:
			src, err = d.stored(src)
		case magicLZVN:
			src, err = d.lzvnBlock(src)
		case magicV1:
			src, err = d.block(src, headerV1)
		case magicV2:
			src, err = d.block(src, headerV2)
		default:
			err = errMagic
		}
		if err != nil {
			return nil, err
		}
	}
}

// A decoder holds what has been decompressed so far.
type decoder struct {
	out  []byte
	most int // how long out may become
}

// literals appends bytes as they are.
func (d *decoder) literals(p []byte) error {
	if len(p) > d.most-len(d.out) {
		return errLength
	}
	d.out = append(d.out, p...)
	return nil
}

// match appends n bytes that were appended distance bytes ago.
func (d *decoder) match(n, distance int) error {
	switch {
	case n == 0:
		return nil
	case distance < 1 || distance > len(d.out):
		return errDistance
	case n > d.most-len(d.out):
		return errLength
	}
	from := len(d.out) - distance
	for n > 0 { // what is copied may be what is copied from
		k := min(n, len(d.out)-from)
		d.out = append(d.out, d.out[from:from+k]...)
		n -= k
	}
	return nil
}

// stored appends a block that is not compressed, and returns what follows it.
func (d *decoder) stored(src []byte) ([]byte, error) {
	if len(src) < 8 {
		return nil, errShort
	}
	n := binary.LittleEndian.Uint32(src[4:])
	src = src[8:]
	if uint64(n) > uint64(len(src)) {
		return nil, errShort
	}
	return src[n:], d.literals(src[:n])
}

// A bitReader reads a stream of bits from its end to its start.
type bitReader struct {
	data []byte
	left int // bits not yet read
}

// newBitReader returns a reader of data, whose last byte has -unused bits, of 0
// to 7, that are not part of the stream and 0.
func newBitReader(data []byte, unused int) (*bitReader, error) {
	if unused > 0 || unused < -7 {
		return nil, errHeader
	}
	r := &bitReader{data, 8*len(data) + unused}
	if r.left < 0 || (unused < 0 && data[len(data)-1]>>(8+unused) != 0) {
		return nil, errBits
	}
	return r, nil
}

// pull returns the next n bits, 32 at the most; zeros where the stream has
// ended, which over reports.
func (r *bitReader) pull(n int) uint32 {
	r.left -= n
	if r.left < 0 {
		return 0
	}
	var v uint64
	first, in := r.left/8, r.left%8
	if first+8 <= len(r.data) {
		v = binary.LittleEndian.Uint64(r.data[first:])
	} else {
		for k, b := range r.data[first:] {
			v |= uint64(b) << (8 * k)
		}
	}
	return uint32(v >> in & (1<<n - 1))
}

// over reports whether more bits were pulled than there were.
func (r *bitReader) over() bool { return r.left < 0 }
