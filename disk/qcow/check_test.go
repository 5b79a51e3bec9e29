package qcow

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestCheck has clusters and tables lie on one another.
func TestCheck(t *testing.T) {
	const (
		l1 = 512
		l2 = 1024
	)
	put := func(off int, v uint64) func(p []byte) {
		return func(p []byte) { binary.BigEndian.PutUint64(p[off:], v) }
	}
	disktest.CheckDamaged(t, Format, small("below"),
		disktest.Damage{Name: "another's", Do: put(l2, 1536), Want: "a cluster and another overlap at offset 0x600"},
		disktest.Damage{Name: "on the L2 table", Do: put(l2, l2), Want: "an L2 table and a cluster overlap at offset 0x400"},
		disktest.Damage{Name: "on the L1 table", Do: put(l2, l1), Want: "the L1 table and a cluster overlap at offset 0x200"},
		disktest.Damage{Name: "on a compressed one", Do: put(l2, 2048), Want: "a compressed cluster and a cluster overlap at offset 0x800"},
		disktest.Damage{Name: "compressed, on data", Do: put(l2, 1<<63|8<<54|1600), Want: "a compressed cluster and a cluster overlap at offset 0x600"},
		disktest.Damage{Name: "compressed, in one sector", Do: put(l2, 1<<63|4<<54|2050)},
		disktest.Damage{Name: "L2 on L1", Do: put(l1, l1), Want: "the L1 table and a cluster overlap at offset 0x200"},
	)
	disktest.CheckDamaged(t, Format, convert(t, content()))
}
