package vpc

// A geometry is cylinders, heads and sectors per track, as the footer has them.
type geometry struct {
	cylinders      uint16
	heads, sectors uint8
}

func (g geometry) total() int64 { return int64(g.cylinders) * int64(g.heads) * int64(g.sectors) }

// greatest is the geometry of disks that none is large enough for.
var greatest = geometry{65535, 16, 255}

// within returns the geometry that the specification has for a disk of that
// many sectors ("Appendix: CHS Calculation"), of which it may leave some over.
func within(total int64) geometry {
	total = min(total, maxGeometry)
	if total >= 65535*16*63 {
		return geometry{uint16(total / (16 * 255)), 16, 255}
	}
	sectors, tracks := int64(17), total/17
	heads := max((tracks+1023)/1024, 4)
	if tracks >= heads*1024 || heads > 16 {
		sectors, heads, tracks = 31, 16, total/31
	}
	if tracks >= heads*1024 {
		sectors, heads, tracks = 63, 16, total/63
	}
	return geometry{uint16(tracks / heads), uint8(heads), uint8(sectors)}
}

// enclosing returns the geometry that QEMU gives a disk of that many sectors:
// the first that leaves none over, of disks of that size and more. It stays
// greatest where there is none.
func enclosing(sectors int64) geometry {
	if sectors == 0 {
		return geometry{}
	}
	g := within(sectors)
	for total := sectors + 1; g.total() < sectors && g != greatest; total++ {
		g = within(total)
	}
	return g
}

// creation returns the geometry and the size in bytes of a new disk for size
// bytes of content; exact keeps it at whole sectors.
func creation(size int64, exact bool) (geometry, int64) {
	sectors := (size + 511) / 512
	if exact {
		return greatest, sectors * 512
	}
	g := enclosing(sectors)
	if g == greatest {
		return g, sectors * 512
	}
	return g, g.total() * 512
}
