package vhdx

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"instar/disk"
)

const (
	formatName = "vhdx"
	signature  = "vhdxfile"

	// Section 2.2: where the parts of the header section are.
	headerAt      = 64 << 10
	secondAt      = 128 << 10
	regionsAt     = 192 << 10
	regionsCopyAt = 256 << 10
	headerSize    = 4 << 10
	regionsSize   = 64 << 10

	mebibyte = 1 << 20 // what regions, the log and blocks are aligned to
)

// A guid is a GUID as it is stored.
type guid [16]byte

// String returns the GUID as Windows writes it, without braces.
func (g guid) String() string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

// A header is one of the two headers (section 2.2.2).
type header struct {
	sequence   uint64
	dataWrite  guid // changes when the content does
	log        guid // zero when the log is empty
	logVersion uint16
	logLength  int64
	logOffset  int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the CRC-32C of p, whose bytes 4 to 8 hold one and count as
// zeros.
func checksum(p []byte) uint32 {
	crc := crc32.Update(0, castagnoli, p[:4])
	crc = crc32.Update(crc, castagnoli, make([]byte, 4))
	return crc32.Update(crc, castagnoli, p[8:])
}

// checked reports whether p begins with a signature and holds its checksum.
func checked(p []byte, signature string) bool {
	return string(p[:4]) == signature && binary.LittleEndian.Uint32(p[4:]) == checksum(p)
}

// readHeader reads both headers and returns the one that counts: the valid one
// with the greater sequence number. Two that have the same must be the same.
func readHeader(f disk.File) (*header, error) {
	var p [2][headerSize]byte
	var h [2]*header
	for k, at := range []int64{headerAt, secondAt} {
		if err := disk.ReadStored(f, p[k][:], at); err != nil {
			return nil, err
		}
		h[k] = parseHeader(p[k][:])
	}
	switch {
	case h[0] == nil && h[1] == nil:
	case h[1] == nil || (h[0] != nil && h[0].sequence > h[1].sequence):
		return h[0], nil
	case h[0] == nil || h[1].sequence > h[0].sequence || p[0] == p[1]:
		return h[1], nil
	}
	return nil, disk.Corruptf(formatName, "No valid VHDX header found")
}

// parseHeader returns nil for what is no valid header.
func parseHeader(p []byte) *header {
	le := binary.LittleEndian
	if !checked(p, "head") || le.Uint16(p[66:]) != 1 {
		return nil
	}
	return &header{
		sequence:   le.Uint64(p[8:]),
		dataWrite:  guid(p[32:]),
		log:        guid(p[48:]),
		logVersion: le.Uint16(p[64:]),
		logLength:  int64(le.Uint32(p[68:])),
		logOffset:  int64(min(le.Uint64(p[72:]), math.MaxInt64)),
	}
}
