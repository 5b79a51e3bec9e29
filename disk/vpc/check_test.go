package vpc

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestOverlaps has blocks lie on one another, and on the tables.
func TestOverlaps(t *testing.T) {
	const bat = (firstBlock - 8) * 512
	put := func(index int, v uint32) func(p []byte) {
		return func(p []byte) { binary.BigEndian.PutUint32(p[bat+4*index:], v) }
	}
	b, _ := sample()
	disktest.CheckDamaged(t, Format, b.image(),
		disktest.Damage{Name: "another's", Do: put(0, firstBlock), Want: "a block and another overlap at offset 0x2600"},
		disktest.Damage{Name: "in part another's", Do: put(5, firstBlock+1), Want: "a block and another overlap at offset 0x4800"},
		disktest.Damage{Name: "on the BAT", Do: put(5, firstBlock-8), Want: "the BAT and a block overlap at offset 0x1600"},
		disktest.Damage{Name: "on the header", Do: put(5, 1), Want: "the dynamic disk header and a block overlap at offset 0x200"},
		disktest.Damage{Name: "on the copy of the footer", Do: put(5, 0), Want: "the copy of the footer and a block overlap at offset 0x0"},
		disktest.Damage{Name: "on the footer", Do: put(1, firstBlock+18), Want: "the footer and a block overlap at offset 0x6a00"},
	)
	b, _ = differencing()
	disktest.CheckDamaged(t, Format, b.image(),
		disktest.Damage{Name: "on a bitmap", Do: put(3, firstBlock), Want: "a block and another overlap at offset 0x2600"},
	)
}
