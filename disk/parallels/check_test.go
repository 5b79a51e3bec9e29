package parallels

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestCheck has clusters lie on one another, and on the BAT.
func TestCheck(t *testing.T) {
	put := func(index int, v uint32) func(p []byte) {
		return func(p []byte) { binary.LittleEndian.PutUint32(p[headerSize+4*index:], v) }
	}
	image := small(magicV1, 4)
	disktest.CheckDamaged(t, Format, image,
		disktest.Damage{Name: "another's", Do: put(0, 4), Want: "a cluster and another overlap at offset 0x800"},
		disktest.Damage{Name: "in part another's", Do: put(0, 3), Want: "a cluster and another overlap at offset 0x800"},
		disktest.Damage{Name: "beside it", Do: put(2, 2)},
	)
	disktest.CheckDamaged(t, Format, convert(t, content()),
		disktest.Damage{Name: "on the BAT", Do: func(p []byte) {
			copy(p, magicV1) // its entries count sectors
			clear(p[headerSize:512])
			put(0, 1)(p)
			binary.LittleEndian.PutUint32(p[32:], 200)
			binary.LittleEndian.PutUint32(p[36:], 200*2048)
		}, Want: "the header with the BAT and a cluster overlap at offset 0x200"},
	)
}
