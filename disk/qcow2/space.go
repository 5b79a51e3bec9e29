package qcow2

import (
	"errors"
	"slices"
)

// A space is the clusters of a new image's file: which are in use, and where
// their reference counts are. It hands them out in the order in which QEMU does,
// so that an image is the same, byte for byte: the first run that is long enough
// is taken, and a refcount block that is missing comes behind what asked for it.
type space struct {
	clusterSize  int64
	refsPerBlock int64 // clusters that a refcount block speaks for

	next int64  // where to look for a free cluster
	end  int64  // no cluster at or behind it is in use
	free []span // clusters before end that are not in use: ascending, apart, none next to end

	blocks       []int64 // refcount blocks by index: cluster; 0 is none
	tableAt      int64   // refcount table: first cluster, and how many
	tableSize    int64
	tableEntries int64
	// retire is told where a refcount table was, and what was in it, when there
	// is another.
	retire func(at int64, blocks []int64) error
}

// A span is the clusters [start, end).
type span struct{ start, end int64 }

// errAgain says that a refcount block has been made, perhaps where the caller
// wanted to be.
var errAgain = errors.New("again")

// errFileTooLarge is the system's text for a refcount table beyond its limit.
var errFileTooLarge = errors.New("File too large") //nolint:staticcheck // qemu-img's text

// newSpace returns that of an image in which the header, a refcount table of one
// cluster, and the first refcount block are.
func newSpace(clusterBits, refcountOrder uint32) *space {
	s := &space{clusterSize: 1 << clusterBits, tableAt: 1, tableSize: 1}
	s.refsPerBlock = s.clusterSize << 3 >> refcountOrder
	s.tableEntries = s.clusterSize / 8
	s.blocks = []int64{2}
	s.next, s.end = 3, 3
	return s
}

// find returns the first n free clusters in a row from next on, and moves next
// behind them.
func (s *space) find(n int64) int64 {
	at := max(s.end, s.next)
	i, _ := slices.BinarySearchFunc(s.free, s.next, func(f span, next int64) int {
		if f.end <= next {
			return -1
		}
		return 1
	})
	for ; i < len(s.free); i++ {
		f := s.free[i]
		start := max(f.start, s.next)
		if f.end-start >= n {
			at = start
			break
		}
	}
	s.next = at + n
	return at
}

// freeAt returns how many clusters from at on are free, up to n.
func (s *space) freeAt(at, n int64) int64 {
	if at >= s.end {
		return n
	}
	for i := len(s.free) - 1; i >= 0 && s.free[i].end > at; i-- {
		if f := s.free[i]; f.start <= at {
			return min(n, f.end-at)
		}
	}
	return 0
}

// use takes free clusters [start, end) into use.
func (s *space) use(start, end int64) {
	if start >= s.end {
		if start > s.end {
			s.free = append(s.free, span{s.end, start})
		}
		s.end = end
		return
	}
	for i := len(s.free) - 1; i >= 0; i-- {
		f := s.free[i]
		if f.start > start {
			continue
		}
		var rest []span
		if f.start < start {
			rest = append(rest, span{f.start, start})
		}
		if end < f.end {
			rest = append(rest, span{end, f.end})
		}
		s.free = slices.Replace(s.free, i, i+1, rest...)
		break
	}
	s.end = max(s.end, end)
}

// release gives clusters [start, end) that are in use up, which are looked at
// next.
func (s *space) release(start, end int64) {
	s.next = min(s.next, start)
	i := len(s.free)
	for i > 0 && s.free[i-1].start > start {
		i--
	}
	s.free = slices.Insert(s.free, i, span{start, end})
	if i+1 < len(s.free) && s.free[i+1].start == end {
		s.free[i].end = s.free[i+1].end
		s.free = slices.Delete(s.free, i+1, i+2)
	}
	if i > 0 && s.free[i-1].end == start {
		s.free[i-1].end = s.free[i].end
		s.free = slices.Delete(s.free, i, i+1)
	}
	if last := len(s.free) - 1; s.free[last].end == s.end {
		s.end = s.free[last].start
		s.free = s.free[:last]
	}
}

// alloc takes n clusters in a row into use.
func (s *space) alloc(n int64) (int64, error) {
	for {
		at := s.find(n)
		err := s.count(at, n)
		if err == nil || err != errAgain {
			return at, err
		}
	}
}

// allocAt takes those of n clusters from at on into use that are free before the
// first that is not, and returns how many they are.
func (s *space) allocAt(at, n int64) (int64, error) {
	for {
		n := s.freeAt(at, n)
		if n == 0 {
			return 0, nil
		}
		err := s.count(at, n)
		if err == nil || err != errAgain {
			return n, err
		}
	}
}

// count has n free clusters from at on be in use. If one has no refcount block,
// that is made and the error is errAgain.
func (s *space) count(at, n int64) error {
	for c := at; c < at+n; {
		index := c / s.refsPerBlock
		if index >= int64(len(s.blocks)) || s.blocks[index] == 0 {
			err := s.newBlock(c)
			if c > at {
				s.release(at, c)
			}
			s.next = min(s.next, at) // the same ones are tried first
			return err
		}
		end := min(at+n, (index+1)*s.refsPerBlock)
		s.use(c, end)
		c = end
	}
	return nil
}

// newBlock makes the refcount block of a cluster. The error is errAgain if all
// is well.
func (s *space) newBlock(cluster int64) error {
	index := cluster / s.refsPerBlock
	at := s.find(1)
	if at/s.refsPerBlock == index {
		s.use(at, at+1)
	} else if err := s.count(at, 1); err != nil { // one block more at the most, which counts itself
		return err
	}
	if index < s.tableEntries {
		s.setBlock(index, at)
		return errAgain
	}
	used := (max(cluster+1, at) + s.refsPerBlock - 1) / s.refsPerBlock
	if _, err := s.moveTable(used*s.refsPerBlock, 0, false, index, at); err != nil {
		return err
	}
	return errAgain
}

func (s *space) setBlock(index, at int64) {
	for int64(len(s.blocks)) <= index {
		s.blocks = append(s.blocks, 0)
	}
	s.blocks[index] = at
}

// moveTable makes a new refcount table at cluster start, behind which nothing is
// in use, and refcount blocks for it and for more clusters behind it. Unless
// exact it has half as many entries again as it needs. block, if not 0, is a
// refcount block that has no entry yet. It returns the cluster behind the table.
func (s *space) moveTable(start, more int64, exact bool, index, block int64) (int64, error) {
	needed := s.blocksFor(start+more, !exact)
	entries := max(needed, int64(len(s.blocks)))
	if !exact {
		entries += (needed + 1) / 2
	}
	perCluster := s.clusterSize / 8
	entries = (entries + perCluster - 1) / perCluster * perCluster
	if entries*8 > maxReftableSize {
		return 0, errFileTooLarge
	}
	if err := s.retire(s.tableAt, s.blocks); err != nil {
		return 0, err
	}
	if block != 0 {
		s.setBlock(index, block)
	}
	at := start
	for i := start / s.refsPerBlock; i < needed; i++ {
		if i >= int64(len(s.blocks)) || s.blocks[i] == 0 {
			s.setBlock(i, at)
			at++
		}
	}
	old, oldSize := s.tableAt, s.tableSize
	s.tableAt, s.tableSize, s.tableEntries = at, entries/perCluster, entries
	end := at + s.tableSize
	s.use(start, end)
	s.release(old, old+oldSize)
	return end, nil
}

// blocksFor returns how many refcount blocks an image of that many clusters
// needs when those for the blocks and their table come on top. generous leaves
// room for half as large a table again.
func (s *space) blocksFor(clusters int64, generous bool) int64 {
	perCluster := s.clusterSize / 8
	var blocks, table, n int64
	for last := int64(-1); n != last; {
		last = n
		blocks = (clusters + table + blocks + s.refsPerBlock - 1) / s.refsPerBlock
		table = (blocks + perCluster - 1) / perCluster
		n = clusters + blocks + table
		if n == last && generous {
			clusters += (table + 1) / 2
			n, generous = 0, false
		}
	}
	return blocks
}

// isUsed reports whether all clusters of a refcount block are in use.
func (s *space) isUsed(block int64) bool {
	start, end := block*s.refsPerBlock, (block+1)*s.refsPerBlock
	return end <= s.end && len(s.freeIn(start, end)) == 0
}

// freeIn returns the free spans before end that overlap [start, end).
func (s *space) freeIn(start, end int64) []span {
	i, _ := slices.BinarySearchFunc(s.free, start, func(f span, start int64) int {
		if f.end <= start {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s.free) && s.free[j].start < end {
		j++
	}
	return s.free[i:j]
}
