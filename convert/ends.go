package convert

import (
	"reflect"

	"instar/disk"
)

// fileEnd remembers how long the file is that was last asked about.
type fileEnd struct {
	file disk.File
	size int64
}

// clip has what an extent says is stored behind the end of its file be a run of
// zeros, which costs nothing, and cuts the extent there, behind the last sector. Tables can name a
// million clusters that are not there.
func (c *fileEnd) clip(e disk.Extent) disk.Extent {
	if e.Kind != disk.Data {
		return e
	}
	size, ok := c.of(e.File)
	switch {
	case !ok || e.Offset <= size-e.Length:
		return e
	case e.Offset < size:
		e.Length = min(e.Length, wholeSectors(size-e.Offset))
		return e
	}
	return disk.Extent{Start: e.Start, Length: e.Length, Kind: disk.Zero}
}

// wholeSectors rounds a length in bytes up to sectors, in which QEMU reads files.
func wholeSectors(n int64) int64 {
	return (n + disk.SectorSize - 1) / disk.SectorSize * disk.SectorSize
}

// of returns the size of f; not being able to tell is left to whoever reads it.
func (c *fileEnd) of(f disk.File) (int64, bool) {
	if same(c.file, f) {
		return c.size, true
	}
	size, err := f.Size()
	if err != nil {
		return 0, false
	}
	c.file, c.size = f, size
	return size, true
}

// same reports whether two files are known to be one.
func same(a, b disk.File) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}
