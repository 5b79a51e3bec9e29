// Package zeros tells whether bytes are all zeros.
package zeros

import "encoding/binary"

// All reports whether p has nothing but zeros.
func All(p []byte) bool {
	for len(p) >= 64 {
		b := p[:64]
		if le(b)|le(b[8:])|le(b[16:])|le(b[24:])|le(b[32:])|le(b[40:])|le(b[48:])|le(b[56:]) != 0 {
			return false
		}
		p = p[64:]
	}
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

func le(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }

// Blocks calls f for each run [start, end) of p without blocks of that many bytes
// that are all zeros, in order, as long as f returns nil. The last block may be
// short.
func Blocks(p []byte, block int, f func(start, end int) error) error {
	for start := 0; start < len(p); {
		end := start
		for end < len(p) && !All(p[end:min(end+block, len(p))]) {
			end = min(end+block, len(p))
		}
		if end > start {
			if err := f(start, end); err != nil {
				return err
			}
		}
		start = min(end+block, len(p)) // what is at end is zeros
	}
	return nil
}
