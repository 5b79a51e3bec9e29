package convert

import (
	"errors"
	"math"
	"sort"

	"instar/disk"
)

// Concat returns the disk that shows the content of disks one after the other.
func Concat(disks ...disk.Disk) (disk.Disk, error) {
	if len(disks) == 1 {
		return disks[0], nil
	}
	c := &concat{disks: disks, starts: make([]int64, len(disks)+1)}
	for i, d := range disks {
		if d.Size() > math.MaxInt64-c.starts[i] {
			return nil, errors.New("the images are too large together")
		}
		c.starts[i+1] = c.starts[i] + d.Size()
	}
	return c, nil
}

// Empty returns a disk of size bytes in which nothing is stored.
func Empty(size int64) disk.Disk { return empty(size) }

type empty int64

func (e empty) Size() int64 { return int64(e) }

func (e empty) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(e, p, off) }

func (e empty) Extent(off, limit int64) (disk.Extent, error) {
	return disk.Extent{Start: off, Length: min(limit, int64(e)-off)}, nil
}

type concat struct {
	disks  []disk.Disk
	starts []int64 // of each disk, and the end
}

func (c *concat) Size() int64 { return c.starts[len(c.disks)] }

func (c *concat) ReadAt(p []byte, off int64) (int, error) { return disk.ReadExtents(c, p, off) }

func (c *concat) Extent(off, limit int64) (disk.Extent, error) {
	i := sort.Search(len(c.disks), func(i int) bool { return c.starts[i+1] > off })
	base := c.starts[i]
	e, err := c.disks[i].Extent(off-base, min(limit, c.starts[i+1]-off))
	if err != nil {
		return e, err
	}
	if e.Kind == disk.Encoded && base > 0 {
		e.Layer = shifted{e.Layer, base}
	}
	e.Start += base
	return e, nil
}

// shifted reads a layer at offsets that are base too high.
type shifted struct {
	layer interface {
		ReadAt(p []byte, off int64) (int, error)
	}
	base int64
}

func (s shifted) ReadAt(p []byte, off int64) (int, error) { return s.layer.ReadAt(p, off-s.base) }
