package convert

import (
	"fmt"

	"instar/disk"
)

// Tail returns the disk that shows the content of another from start on, a
// multiple of disk.SectorSize.
func Tail(d disk.Disk, start int64) (disk.Disk, error) {
	if start < 0 || start > d.Size() || start%disk.SectorSize != 0 {
		return nil, fmt.Errorf("a disk of %d bytes has no tail at %d", d.Size(), start)
	}
	if start == 0 {
		return d, nil
	}
	return &tail{d, start}, nil
}

type tail struct {
	disk  disk.Disk
	start int64
}

func (t *tail) Size() int64 { return t.disk.Size() - t.start }

func (t *tail) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(t, p, off) }

func (t *tail) Extent(off, limit int64) (disk.Extent, error) {
	e, err := t.disk.Extent(off+t.start, limit)
	if err != nil {
		return e, err
	}
	if e.Kind == disk.Encoded {
		e.Layer = shifted{e.Layer, -t.start}
	}
	e.Start -= t.start
	return e, nil
}

// Solid returns a disk whose runs that nothing stores are zeros, and not what may
// be below.
func Solid(d disk.Disk) disk.Disk { return solid{d} }

type solid struct{ disk.Disk }

func (s solid) Extent(off, limit int64) (disk.Extent, error) {
	e, err := s.Disk.Extent(off, limit)
	if e.Kind == disk.Unallocated {
		e.Kind = disk.Zero
	}
	return e, err
}
