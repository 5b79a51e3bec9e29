// Package lay has what writers of formats have in common that lay an image out
// in ascending order: tables that are too large to keep, and blocks that are
// stored one behind the other.
package lay

import (
	"bytes"
	"errors"

	"instar/disk"
	"instar/internal/strerror"
)

// page is how much of a table is kept, and how many zeros are written at once,
// in bytes.
const page = 64 << 10

// Zeros writes n bytes of zeros at an offset.
func Zeros(t disk.Target, at, n int64) error {
	p := make([]byte, min(max(n, 0), page))
	for n > 0 {
		k, err := t.WriteAt(p[:min(n, page)], at)
		if err != nil {
			return err
		}
		at, n = at+int64(k), n-int64(k)
	}
	return nil
}

// Preallocate has the file system allocate n bytes of zeros at an offset of a new
// file, for preallocation=falloc or full, before there is content. It returns
// errors.ErrUnsupported where that cannot be done, and qemu-img's text where there
// is no room.
func Preallocate(t disk.Target, mode string, at, n int64) error {
	return NotPreallocated(mode, t.Zero(at, n))
}

// NotPreallocated puts an error of Preallocate, or of what takes its place, in
// qemu-img's words.
func NotPreallocated(mode string, err error) error {
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	what := "Could not preallocate new data: "
	if mode == "full" {
		what = "Could not write zeros for preallocation: "
	}
	return &disk.WordedError{Text: what + strerror.Text(err), Err: err}
}

// A Table is a table of the image whose entries are set in ascending order. A
// part of it is kept, the rest is in the file.
type Table struct {
	target     disk.Target
	at, length int64
	fill       byte
	zeroed     bool // what is not written reads as zeros
	start      int64
	page       []byte
	set        bool // something is in page
}

// NewTable returns a table of length bytes at an offset of t. Every byte that
// is not set is fill. zeroed says that t reads as zeros there.
func NewTable(t disk.Target, at, length int64, fill byte, zeroed bool) *Table {
	w := &Table{target: t, at: at, length: length, fill: fill, zeroed: zeroed}
	w.begin(0)
	return w
}

// At returns where in the target the table is.
func (w *Table) At() int64 { return w.at }

func (w *Table) begin(start int64) {
	w.start, w.set = start, false
	w.page = bytes.Repeat([]byte{w.fill}, int(min(w.length-start, page)))
}

// next writes the page that is kept and begins the one behind it.
func (w *Table) next() error {
	if w.set || w.fill != 0 || !w.zeroed {
		if _, err := w.target.WriteAt(w.page, w.at+w.start); err != nil {
			return err
		}
	}
	w.begin(w.start + int64(len(w.page)))
	return nil
}

// Set stores an entry of a length that divides a page at an offset of the table.
func (w *Table) Set(off int64, entry []byte) error {
	if w.fill == 0 && w.zeroed && off >= w.start+2*page { // nothing is there
		if err := w.next(); err != nil {
			return err
		}
		w.begin(off / page * page)
	}
	for off >= w.start+int64(len(w.page)) {
		if err := w.next(); err != nil {
			return err
		}
	}
	copy(w.page[off-w.start:], entry)
	w.set = true
	return nil
}

// Close writes what is left of the table.
func (w *Table) Close() error {
	if w.fill == 0 && w.zeroed {
		return w.next()
	}
	for w.start < w.length {
		if err := w.next(); err != nil {
			return err
		}
	}
	return nil
}

// Blocks stores content in blocks of one size, in the order in which it comes.
type Blocks struct {
	Target disk.Target
	First  int64 // offset of the first block in the target
	Block  int64 // size of a block
	// Zeroed says that the target reads as zeros; else what no content is
	// placed at is written.
	Zeroed bool
	// Stored is told the block of the disk of each block that is taken, in
	// ascending order.
	Stored func(index, number int64) error

	count int64 // of blocks taken
	index int64 // of the last of them on the disk, plus one
	next  int64 // bytes of the last that are dealt with
}

// End returns the offset behind the last block.
func (b *Blocks) End() int64 { return b.First + b.count*b.Block }

// Count returns how many blocks are stored.
func (b *Blocks) Count() int64 { return b.count }

// Unit returns a unit of content that no block is cut by, at most a page.
func (b *Blocks) Unit() int64 { return Unit(b.Block) }

// Unit returns a unit of content that blocks of that size are made of, at most
// a page of 4096 bytes.
func Unit(block int64) int64 { return min(block&-block, 4096) }

// Place is [disk.Writer]'s.
func (b *Blocks) Place(off, n int64) (at, placed int64, err error) {
	first, in := off/b.Block, off%b.Block
	if first+1 != b.index {
		if err := b.take(first); err != nil {
			return 0, 0, err
		}
	}
	if err := b.skip(in); err != nil {
		return 0, 0, err
	}
	at = b.End() - b.Block + in
	for first++; first*b.Block < off+n; first++ {
		b.next = b.Block
		if err := b.take(first); err != nil {
			return 0, 0, err
		}
	}
	b.next = (off+n-1)%b.Block + 1
	return at, n, nil
}

func (b *Blocks) take(index int64) error {
	if err := b.Close(); err != nil {
		return err
	}
	if err := b.Stored(index, b.count); err != nil {
		return err
	}
	b.index, b.next = index+1, 0
	b.count++
	return nil
}

// skip deals with the last block up to an offset that content comes at.
func (b *Blocks) skip(in int64) error {
	from := b.next
	b.next = max(b.next, in)
	if b.Zeroed || in <= from {
		return nil
	}
	return Zeros(b.Target, b.End()-b.Block+from, in-from)
}

// Close deals with what is left of the last block.
func (b *Blocks) Close() error {
	if b.count == 0 {
		return nil
	}
	return b.skip(b.Block)
}
