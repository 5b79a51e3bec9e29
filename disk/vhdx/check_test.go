package vhdx

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestOverlaps has blocks lie on one another, and on sector bitmaps.
func TestOverlaps(t *testing.T) {
	put := func(index int, v uint64) func(p []byte) {
		return func(p []byte) { binary.LittleEndian.PutUint64(p[batAt+8*index:], v) }
	}
	x, _ := sample()
	disktest.CheckDamaged(t, Format, x.image(),
		disktest.Damage{Name: "another's", Do: put(3, present(4)), Want: "a block and another overlap at offset 0x400000"},
		disktest.Damage{Name: "another's, of zeros", Do: put(3, 4<<20|blockUnmapped)},
	)
	x, _ = differencing(512)
	const ratio = 4096
	disktest.CheckDamaged(t, Format, x.image(),
		disktest.Damage{Name: "on a bitmap", Do: put(0, present(6)), Want: "a sector bitmap and a block overlap at offset 0x600000"},
		disktest.Damage{Name: "bitmap on a block", Do: put(ratio, 5<<20|bitmapPresent), Want: "a sector bitmap and a block overlap at offset 0x500000"},
	)
}
