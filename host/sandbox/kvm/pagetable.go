//go:build linux && amd64

package kvm

import (
	"errors"
	"sync/atomic"
)

// Bits of a page-table entry: AMD64 Architecture Programmer's Manual, volume 2,
// section 5.3.
const (
	ptePresent  = 1 << 0
	pteWrite    = 1 << 1
	pteUser     = 1 << 2
	pteAccessed = 1 << 5
	pteDirty    = 1 << 6
	pteLarge    = 1 << 7
	pteNoExec   = 1 << 63

	pteAddress = 0x000f_ffff_ffff_f000
)

// errTables says that there is no room for another page table.
var errTables = errors.New("the guest's address space is too scattered")

// A pageTable is the guest's tree of page tables, four levels in the system
// region, where the guest cannot write. The processor reads it, and sets the
// accessed and dirty bits, while the VMM changes it.
//
// Tables are never freed: what a processor may have cached of the upper levels
// stays true.
type pageTable struct {
	system []byte
	root   uint64
	next   uint64 // the next free page of system
}

// newPageTable returns an empty tree whose tables are taken from system, from
// offset first on.
func newPageTable(system []byte, first uint64) *pageTable {
	return &pageTable{system: system, root: first, next: first + pageSize}
}

// A leaf is an entry that maps a page or a block.
type leaf struct {
	address uint64
	size    uint64 // pageSize or blockSize
	entry   *uint64
}

func (l leaf) load() uint64   { return atomic.LoadUint64(l.entry) }
func (l leaf) store(e uint64) { atomic.StoreUint64(l.entry, e) }

// physical returns the guest-physical address that the leaf leads to.
func (l leaf) physical() uint64 { return l.load() & pteAddress &^ (l.size - 1) }

// span returns how much of the address space an entry of that level covers;
// level 1 has the entries of pages.
func span(level int) uint64 { return pageSize << (9 * (level - 1)) }

func (t *pageTable) entry(table, address uint64, level int) *uint64 {
	return word(t.system, table+address/span(level)%512*8)
}

// first returns the first leaf that maps something of [address, end).
func (t *pageTable) first(address, end uint64) (leaf, bool) {
	for address < end {
		l, level := t.descend(address)
		if l.entry != nil {
			return l, true
		}
		next := roundDown(address, span(level)) + span(level)
		if next <= address { // the end of the address space
			break
		}
		address = next
	}
	return leaf{}, false
}

// at returns the leaf that maps address.
func (t *pageTable) at(address uint64) (leaf, bool) {
	l, _ := t.descend(address)
	return l, l.entry != nil
}

// descend returns the leaf that maps address, or none and the level on which
// the way to it ends.
func (t *pageTable) descend(address uint64) (leaf, int) {
	table := t.root
	for level := 4; ; level-- {
		entry := t.entry(table, address, level)
		e := atomic.LoadUint64(entry)
		switch {
		case e&ptePresent == 0:
			return leaf{}, level
		case level == 1 || e&pteLarge != 0:
			return leaf{address: roundDown(address, span(level)), size: span(level), entry: entry}, level
		}
		table = e & pteAddress
	}
}

// mapPage has the page at address lead to a guest-physical address. Nothing
// may be mapped there.
func (t *pageTable) mapPage(address, physical, flags uint64) error {
	entry, err := t.reach(address, 1)
	if err != nil {
		return err
	}
	atomic.StoreUint64(entry, physical|flags|ptePresent|pteAccessed|pteDirty)
	return nil
}

// mapBlock has the block at address lead to a guest-physical address, both
// multiples of its size. It reports false when the block's pages have a table
// of their own, and nothing can be mapped as a whole.
func (t *pageTable) mapBlock(address, physical, flags uint64) (bool, error) {
	entry, err := t.reach(address, 2)
	if err != nil {
		return false, err
	}
	if atomic.LoadUint64(entry) != 0 {
		return false, nil
	}
	atomic.StoreUint64(entry, physical|flags|ptePresent|pteAccessed|pteDirty|pteLarge)
	return true, nil
}

// reach returns the entry for address on a level, making the tables above it.
// The entries of the upper levels allow everything; the last one decides.
func (t *pageTable) reach(address uint64, level int) (*uint64, error) {
	table := t.root
	for l := 4; l > level; l-- {
		entry := t.entry(table, address, l)
		e := atomic.LoadUint64(entry)
		if e&ptePresent == 0 {
			frame, err := t.newTable()
			if err != nil {
				return nil, err
			}
			e = frame | ptePresent | pteWrite | pteUser | pteAccessed
			atomic.StoreUint64(entry, e)
		}
		table = e & pteAddress
	}
	return t.entry(table, address, level), nil
}

func (t *pageTable) newTable() (uint64, error) {
	if t.next+pageSize > uint64(len(t.system)) {
		return 0, errTables
	}
	t.next += pageSize
	return t.next - pageSize, nil
}

// split turns a leaf that is a block into the leaves of its pages.
func (t *pageTable) split(block leaf) error {
	table, err := t.newTable()
	if err != nil {
		return err
	}
	e := block.load()
	flags := e &^ (pteAddress | pteLarge)
	for i := range uint64(pagesPerBlock) {
		atomic.StoreUint64(word(t.system, table+8*i), block.physical()+i*pageSize|flags)
	}
	block.store(table | ptePresent | pteWrite | pteUser | pteAccessed)
	return nil
}
