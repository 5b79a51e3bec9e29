package qed

import (
	"encoding/binary"
	"testing"

	"instar/disk/disktest"
)

// TestCheck has clusters be used twice.
func TestCheck(t *testing.T) {
	const (
		l1 = 4096
		l2 = 3 * 4096
	)
	put := func(off int, v uint64) func(p []byte) {
		return func(p []byte) { binary.LittleEndian.PutUint64(p[off:], v) }
	}
	disktest.CheckDamaged(t, Format, small(nil),
		disktest.Damage{Name: "another's", Do: put(l2, 5*4096), Want: "a data cluster and another overlap at offset 0x5000"},
		disktest.Damage{Name: "zeros", Do: put(l2, zeroCluster)},
		disktest.Damage{Name: "data on L2", Do: put(l2, 4*4096), Want: "an L2 table and a data cluster overlap at offset 0x4000"},
		disktest.Damage{Name: "data on L1", Do: put(l2, 2*4096), Want: "the L1 table and a data cluster overlap at offset 0x2000"},
		disktest.Damage{Name: "L2 on L1", Do: put(l1, 2*4096), Want: "the L1 table and an L2 table overlap at offset 0x2000"},
	)
}
