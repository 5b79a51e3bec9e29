package vmdk

import (
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

// FuzzExtents takes any bytes for a descriptor of several extents and for two
// of them; the others are the second again.
func FuzzExtents(f *testing.F) {
	x, _ := sample()
	one := x.image()
	two := esx(1600, map[int]uint32{0: dataAt}, content(grain, 1), nil)
	f.Add([]byte(text("twoGbMaxExtentSparse", "RW 1000 SPARSE \"a\"\nRW 1000 SPARSE \"b\"\nRW 1000 SPARSE \"b\"")), one, one)
	f.Add([]byte(text("vmfs", "RW 1600 VMFSSPARSE \"b\"\nRW 7 ZERO\nRW 1600 VMFSSPARSE \"b\"")), one, two)
	f.Add([]byte(text("twoGbMaxExtentFlat", "RW 3 FLAT \"a\" 1\nRW 5 FLAT \"b\" 0\nRW 1 ZERO")), one[:4096], two[:4096])
	f.Fuzz(func(t *testing.T, descriptor, first, second []byte) {
		files := []disk.File{disktest.File(first)}
		for range 3 {
			disktest.Survive(t, Format, descriptor, disk.OpenOptions{Files: files})
			files = append(files, disktest.File(second))
		}
	})
}
