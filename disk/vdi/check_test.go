package vdi

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestCheck has blocks lie on one another, and on the tables.
func TestCheck(t *testing.T) {
	image := convert(t, content())
	put := func(off int, v uint32) func(p []byte) {
		return func(p []byte) { binary.LittleEndian.PutUint32(p[off:], v) }
	}
	disktest.CheckDamaged(t, Format, image,
		disktest.Damage{Name: "another's", Do: put(512+8, 0), Want: "a block and another overlap at offset 0x400"},
		disktest.Damage{Name: "discarded", Do: put(512+8, discarded)},
		disktest.Damage{Name: "where the map is", Do: put(0x158, 512), Want: "the block map and a block overlap at offset 0x200"},
		disktest.Damage{Name: "where the header is", Do: put(0x158, 0), Want: "the header and a block overlap at offset 0x0"},
		disktest.Damage{Name: "map and header", Do: put(0x154, 0), Want: "the header and the block map overlap at offset 0x0"},
	)
	disktest.CheckDamaged(t, Format, convert(t, content(), "-o", "static=on"))
}
