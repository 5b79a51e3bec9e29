package vhdx

import (
	"encoding/binary"

	"instar/disk"
)

// pageEntries is how many entries of the BAT are held, and written at once.
const pageEntries = 1 << 17

// A table writes a BAT, whose entries are set in ascending order: no more than
// a page of it is held. After each chunk of blocks there is an entry for a
// bitmap, which stays empty.
type table struct {
	target  disk.Target
	at      int64 // of the table, bytes
	entries int64
	ratio   int64 // blocks of a chunk
	block   int64 // bytes
	absent  uint64
	first   int64 // where all blocks are stored, in a row; 0 leaves them out
	blank   bool  // where nothing is written, entries are 0

	page    []byte
	current int64 // number of the page in page
}

// set sets the entry of a block.
func (t *table) set(index int64, entry uint64) error {
	index += index / t.ratio
	if err := t.advance(index / pageEntries); err != nil {
		return err
	}
	t.load()
	binary.LittleEndian.PutUint64(t.page[index%pageEntries*8:], entry)
	return nil
}

// advance writes the pages before that of a number.
func (t *table) advance(number int64) error {
	for ; t.current < number; t.current++ {
		if t.page == nil && t.blank && t.first == 0 && t.absent == 0 {
			continue
		}
		t.load()
		if _, err := t.target.WriteAt(t.page, t.at+t.current*pageEntries*8); err != nil {
			return err
		}
		t.page = nil
	}
	return nil
}

// load has the current page begun.
func (t *table) load() {
	if t.page != nil {
		return
	}
	start := t.current * pageEntries
	end := min(start+pageEntries, t.entries)
	t.page = make([]byte, 0, (end-start)*8)
	for at := start; at < end; at++ {
		t.page = binary.LittleEndian.AppendUint64(t.page, t.initial(at))
	}
}

// initial returns what an entry is as long as it is not set.
func (t *table) initial(at int64) uint64 {
	switch {
	case at%(t.ratio+1) == t.ratio:
		return 0
	case t.first > 0:
		return blockFullyPresent | uint64(t.first+(at-at/(t.ratio+1))*t.block)
	}
	return t.absent
}

// finish writes what is left.
func (t *table) finish() error {
	return t.advance((t.entries + pageEntries - 1) / pageEntries)
}
