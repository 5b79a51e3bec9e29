package dmg

import "errors"

var (
	errADCShort    = errors.New("adc: compressed data ends early")
	errADCDistance = errors.New("adc: reference to what comes before the start")
	errLength      = errors.New("it holds more than it should")
)

// decodeADC decompresses Apple Data Compression: appends to dst, up to size
// bytes in all, what src stands for.
func decodeADC(dst, src []byte, size int) ([]byte, error) {
	for len(dst) < size {
		if len(src) == 0 {
			return nil, errADCShort
		}
		b := int(src[0])
		if b >= 0x80 { // literals
			n := b&0x7f + 1
			if len(src) < 1+n {
				return nil, errADCShort
			}
			if n > size-len(dst) {
				return nil, errLength
			}
			dst, src = append(dst, src[1:1+n]...), src[1+n:]
			continue
		}
		n, distance, used := b>>2+3, 1, 2
		if b >= 0x40 {
			n, used = b&0x3f+4, 3
		}
		if len(src) < used {
			return nil, errADCShort
		}
		if b >= 0x40 {
			distance += int(src[1])<<8 | int(src[2])
		} else {
			distance += b&3<<8 | int(src[1])
		}
		src = src[used:]
		if distance > len(dst) {
			return nil, errADCDistance
		}
		if n > size-len(dst) {
			return nil, errLength
		}
		for range n { // what is copied may be what is copied from
			dst = append(dst, dst[len(dst)-distance])
		}
	}
	return dst, nil
}
