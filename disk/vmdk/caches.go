package vmdk

import (
	"errors"
	"io"
	"math"
	"sync"

	"instar/disk"
	"instar/disk/internal/metacache"
)

// caches holds the table caches of the extents that were read last: a disk may
// have thousands, and each cache takes up to 8 MiB.
type caches struct {
	mu   sync.Mutex
	last [4]cached
}

type cached struct {
	extent *extent
	tables *tables
}

// of returns the tables of x: with a new cache, if need be, in the place
// of the one that was not used for the longest time.
func (c *caches) of(x *extent) *tables {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := 0
	for k < len(c.last)-1 && c.last[k].extent != x {
		k++
	}
	use := c.last[k]
	if use.extent != x {
		use = cached{x, &tables{sparse: x.sparse, file: x.file, cache: metacache.New(x.file), holes: holes{file: x.file}}}
	}
	copy(c.last[1:k+1], c.last[:k])
	c.last[0] = use
	return use.tables
}

// holes tells whether parts of a file are holes. It remembers the last run that
// it was told of, since tables are read in order.
type holes struct {
	file disk.File

	mu         sync.Mutex
	start, end int64 // of the run
	hole       bool
}

// cover reports whether [start, end) is in one hole.
func (h *holes) cover(start, end int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if start < h.start || start >= h.end {
		data, next, err := disk.DataRun(h.file, start)
		switch {
		case errors.Is(err, io.EOF):
			h.start, h.end, h.hole = start, math.MaxInt64, true
		case err != nil:
			return false // who reads it will see
		case data > start:
			h.start, h.end, h.hole = start, data, true
		default:
			h.start, h.end, h.hole = start, next, false
		}
	}
	return h.hole && end <= h.end
}
