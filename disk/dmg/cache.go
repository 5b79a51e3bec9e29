package dmg

import "sync"

const (
	// mostKept is how many bytes of decompressed chunks are kept.
	mostKept = 32 << 20
	// large is the size in bytes, of what is stored or of the content, from which
	// chunks are decompressed one at a time, and one of them is kept.
	large = 4 << 20
)

// A cache keeps the chunks that were decompressed last: a chunk is mostly read
// in several pieces. It goes by where they are stored, so that a hostile image
// whose chunks are all stored in one place has that decompressed once.
type cache struct {
	// decode decompresses a chunk. It may use the memory of buffers for what is
	// stored, and for the content.
	decode func(c *chunk, b *buffers) ([]byte, error)

	alone sync.Mutex // held while the large chunk is in use
	large *kept
	again buffers // what that is decompressed into, one after the other

	mu    sync.Mutex
	kept  []*kept // the one that was used last comes last
	bytes int64
}

// buffers is memory for what a chunk is decompressed from, and into.
type buffers struct{ stored, content []byte }

// A kept is one chunk, or several that are stored in one place.
type kept struct {
	chunk
	once    sync.Once
	content []byte
	err     error
}

// read copies what a chunk holds at an offset.
func (c *cache) read(of *chunk, p []byte, off int64) error {
	if of.size() >= large || of.length >= large {
		return c.readLarge(of, p, off)
	}
	k := c.get(of)
	k.once.Do(func() { k.content, k.err = c.decode(of, &buffers{}) })
	return k.copy(p, off)
}

func (c *cache) readLarge(of *chunk, p []byte, off int64) error {
	c.alone.Lock()
	defer c.alone.Unlock()
	if c.large == nil || !c.large.alike(of) {
		content, err := c.decode(of, &c.again)
		c.large = &kept{chunk: *of, content: content, err: err}
	}
	return c.large.copy(p, off)
}

func (k *kept) copy(p []byte, off int64) error {
	if k.err == nil {
		copy(p, k.content[off:])
	}
	return k.err
}

// get returns the entry of a chunk, and drops those that there is no more room
// for.
func (c *cache) get(of *chunk) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, k := range c.kept {
		if k.alike(of) {
			copy(c.kept[n:], c.kept[n+1:])
			c.kept[len(c.kept)-1] = k
			return k
		}
	}
	k := &kept{chunk: *of}
	c.bytes += of.size()
	drop := 0
	for ; drop < len(c.kept) && c.bytes > mostKept; drop++ {
		c.bytes -= c.kept[drop].size()
	}
	clear(c.kept[:drop])
	c.kept = append(c.kept[drop:], k)
	return k
}
