package dmg

import "sync"

const (
	// mostKept is how many bytes of decompressed chunks are kept.
	mostKept = 32 << 20
	// large is the size in bytes from which chunks are decompressed one at a
	// time: each takes its size up to three times meanwhile.
	large = 4 << 20
)

// A cache keeps the chunks that were decompressed last: a chunk is mostly read
// in several pieces.
type cache struct {
	decode func(index int) ([]byte, error)

	alone sync.Mutex // held while a large chunk is in use

	mu    sync.Mutex
	kept  []*kept // the one that was used last comes last
	bytes int64
}

// A kept is one chunk.
type kept struct {
	index   int
	size    int64
	once    sync.Once
	content []byte
	err     error
}

// read copies what the chunk of that index and size holds at an offset.
func (c *cache) read(index int, size int64, p []byte, off int64) error {
	if size >= large {
		c.alone.Lock()
		defer c.alone.Unlock()
	}
	k := c.get(index, size)
	k.once.Do(func() { k.content, k.err = c.decode(index) })
	if k.err != nil {
		return k.err
	}
	copy(p, k.content[off:])
	return nil
}

// get returns the entry of a chunk, and drops those that there is no more room
// for.
func (c *cache) get(index int, size int64) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, k := range c.kept {
		if k.index == index {
			copy(c.kept[n:], c.kept[n+1:])
			c.kept[len(c.kept)-1] = k
			return k
		}
	}
	k := &kept{index: index, size: size}
	c.bytes += size
	drop := 0
	for ; drop < len(c.kept) && c.bytes > mostKept; drop++ {
		c.bytes -= c.kept[drop].size
	}
	clear(c.kept[:drop])
	c.kept = append(c.kept[drop:], k)
	return k
}
