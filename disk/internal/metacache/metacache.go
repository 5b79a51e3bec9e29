// Package metacache reads the tables of an image through a cache of bounded
// size, so that memory does not grow with what an image claims to be.
package metacache

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"instar/disk"
)

// BlockSize is the unit of caching in bytes.
const BlockSize = 64 << 10

// A cache has sets of two blocks each: 8 MiB.
const sets = 64

var errOffset = errors.New("table offset out of range")

// A Cache reads a file in blocks and keeps some of them. Its methods may be
// called from several goroutines at once.
type Cache struct {
	file disk.File
	sets [sets]set
}

// A set holds two of the blocks whose number is its own modulo sets: a table
// that is read in order and the table that points to it do not drive each
// other out.
type set struct {
	mu   sync.Mutex // held while filling
	ways [2]atomic.Pointer[block]
	last atomic.Uint32 // way used last
}

type block struct {
	number int64
	data   [BlockSize]byte
}

// New returns a cache over f.
func New(f disk.File) *Cache { return &Cache{file: f} }

// get returns a block, which is never written to again.
func (c *Cache) get(number int64) (*block, error) {
	s := &c.sets[uint64(number)%sets]
	if b := s.find(number); b != nil {
		return b, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(number); b != nil {
		return b, nil
	}
	b := &block{number: number}
	if err := disk.ReadStored(c.file, b.data[:], number*BlockSize); err != nil {
		return nil, err
	}
	way := 1 - s.last.Load()
	s.ways[way].Store(b)
	s.last.Store(way)
	return b, nil
}

// find returns the block if it is in the set.
func (s *set) find(number int64) *block {
	for way := range uint32(len(s.ways)) {
		if b := s.ways[way].Load(); b != nil && b.number == number {
			if s.last.Load() != way {
				s.last.Store(way)
			}
			return b
		}
	}
	return nil
}

// View returns n bytes of the file at off, as they are cached: at most up to
// the end of a block, and the caller must not write to them. What lies beyond
// the end of the file is zeros.
func (c *Cache) View(off, n int64) ([]byte, error) {
	if off < 0 {
		return nil, errOffset // a sum that ran over
	}
	b, err := c.get(off / BlockSize)
	if err != nil {
		return nil, err
	}
	in := off % BlockSize
	return b.data[in:min(in+n, BlockSize)], nil
}

// ReadAt fills p with what the file has at off; see [disk.ReadStored].
func (c *Cache) ReadAt(p []byte, off int64) error {
	for len(p) > 0 {
		v, err := c.View(off, int64(len(p)))
		if err != nil {
			return err
		}
		copy(p, v)
		p, off = p[len(v):], off+int64(len(v))
	}
	return nil
}

// Uint64BE returns the big-endian number at off, a multiple of 8.
func (c *Cache) Uint64BE(off int64) (uint64, error) {
	v, err := c.View(off, 8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// Each calls f for the n entries of size bytes of a table at off, several at a time:
// entries begins with that of index.
func (c *Cache) Each(off, n, size int64, f func(index int64, entries []byte) error) error {
	for k := int64(0); k < n; {
		p, err := c.View(off+k*size, (n-k)*size)
		if err != nil {
			return err
		}
		if p = p[:int64(len(p))/size*size]; len(p) == 0 { // one lies across the end of a block
			p = make([]byte, size)
			if err := c.ReadAt(p, off+k*size); err != nil {
				return err
			}
		}
		if err := f(k, p); err != nil {
			return err
		}
		k += int64(len(p)) / size
	}
	return nil
}
