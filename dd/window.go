package dd

import (
	"math"
	"math/bits"
)

// sector is the unit of every virtual size, in bytes.
const sector = 512

// A Window is the part of the input that a dd copies, in bytes.
type Window struct {
	Start int64 // first byte copied
	End   int64 // first byte not copied; Start <= End
	// OutSize is the virtual size of the output: End-Start rounded up to 512.
	OutSize int64
	// SkipBeyond says that skip lies beyond the (clamped) end of the input,
	// not at it: the one case in which qemu-img dd prints a warning.
	SkipBeyond bool
}

// ComputeWindow returns what a dd copies of an input of virtualSize bytes, for
// blocks of bs bytes, count blocks at the most (nil for all), leaving out skip
// blocks. The rules are those of qemu-img dd:
//
//   - the input counts as rounded up to 512 bytes;
//   - count shortens the input, never lengthens it, and is applied before skip;
//   - a skip to the end of that, or beyond it, leaves an empty window.
//
// No argument is out of bounds: products saturate, and negative numbers count
// as zero.
func ComputeWindow(virtualSize, bs int64, count *int64, skip int64) Window {
	end := roundUp(max(virtualSize, 0))
	if count != nil {
		end = min(end, mul(*count, bs))
	}
	start := mul(skip, bs)
	if start > end {
		// As qemu-img dd does, the window stands at the end of the input.
		return Window{Start: end, End: end, SkipBeyond: true}
	}
	return Window{Start: start, End: end, OutSize: roundUp(end - start)}
}

// roundUp rounds n up to a sector; what has no sector above it in an int64 is
// rounded down.
func roundUp(n int64) int64 {
	if n > math.MaxInt64-(sector-1) {
		return math.MaxInt64 / sector * sector
	}
	return (n + sector - 1) / sector * sector
}

// mul multiplies and saturates at the greatest int64.
func mul(a, b int64) int64 {
	high, low := bits.Mul64(uint64(max(a, 0)), uint64(max(b, 0)))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}
