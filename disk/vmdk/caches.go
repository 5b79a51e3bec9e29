package vmdk

import (
	"sync"

	"instar/disk/internal/metacache"
)

// caches holds the table caches of the extents that were read last: a disk may
// have thousands, and each cache takes up to 16 MiB.
type caches struct {
	mu   sync.Mutex
	last [4]cached
}

type cached struct {
	extent *extent
	tables *metacache.Cache
}

// of returns the cache over the file of x: a new one, if need be, in the place
// of the one that was not used for the longest time.
func (c *caches) of(x *extent) *metacache.Cache {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := 0
	for k < len(c.last)-1 && c.last[k].extent != x {
		k++
	}
	use := c.last[k]
	if use.extent != x {
		use = cached{x, metacache.New(x.file)}
	}
	copy(c.last[1:k+1], c.last[:k])
	c.last[0] = use
	return use.tables
}
