package vmdk

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestOverlaps has grains and tables lie on one another.
func TestOverlaps(t *testing.T) {
	put := func(off int, v uint32) func(p []byte) {
		return func(p []byte) { binary.LittleEndian.PutUint32(p[off:], v) }
	}
	const table = tableAt * 512
	x, _ := sample()
	disktest.CheckDamaged(t, Format, x.image(),
		disktest.Damage{Name: "another's", Do: put(table+4*30, dataAt), Want: "a grain and another overlap at offset 0x5000"},
		disktest.Damage{Name: "in part another's", Do: put(table+4*30, dataAt+15), Want: "a grain and another overlap at offset 0x6e00"},
		disktest.Damage{Name: "on the table", Do: put(table+4*30, tableAt), Want: "a grain table and a grain overlap at offset 0x2c00"},
		disktest.Damage{Name: "on the directory", Do: put(table+4*30, directoryAt), Want: "the grain directory and a grain overlap at offset 0x2a00"},
		disktest.Damage{Name: "on the descriptor", Do: put(table+4*30, directoryAt-16), Want: "the descriptor and a grain overlap at offset 0xa00"},
		disktest.Damage{Name: "table on the directory", Do: put(directoryAt*512, directoryAt), Want: "the grain directory and a grain overlap at offset 0x2a00"},
		disktest.Damage{Name: "zeros again", Do: put(table+4*30, entryZeroed)},
	)
	x.perTable = 32
	disktest.CheckDamaged(t, Format, x.image(),
		disktest.Damage{Name: "table twice", Do: put(directoryAt*512+4, tableAt), Want: "a grain table and another overlap at offset 0x2c00"},
	)
	for _, marked := range []bool{true, false} {
		x, _ = compressedSample(marked, marked)
		disktest.CheckDamaged(t, Format, x.image(),
			disktest.Damage{Name: "another's", Do: put(table+4*30, dataAt), Want: "a grain and another overlap at offset 0x5000"},
		)
	}
}
