package convert

import "instar/disk"

// Overlay returns the disk that the topmost of layers adds to those below: runs
// that it leaves to them are Unallocated, everything else is what it has. below,
// which may be nil, is what the copy will stand on in their place: where that
// has ended nothing needs to say that there are zeros.
func Overlay(layers []disk.Disk, below disk.Disk) disk.Disk {
	o := &overlay{Disk: layers[0], ends: layers[0].Size()}
	if len(layers) > 1 {
		o.standsOn = layers[1].Size()
	}
	if below != nil {
		o.ends = below.Size()
	}
	return o
}

type overlay struct {
	disk.Disk       // the topmost layer
	standsOn  int64 // size of the layer below, bytes
	ends      int64 // size of what the copy stands on, bytes
}

func (o *overlay) Extent(off, limit int64) (disk.Extent, error) {
	e, err := o.Disk.Extent(off, limit)
	if err != nil {
		return e, err
	}
	if e.Kind == disk.Unallocated {
		if off < o.standsOn {
			e.Length = min(e.Length, o.standsOn-off)
			return e, nil
		}
		e.Kind = disk.Zero
	}
	if e.Kind == disk.Zero {
		if off >= o.ends {
			return disk.Extent{Start: off, Length: e.Length}, nil
		}
		e.Length = min(e.Length, o.ends-off)
	}
	return e, nil
}
