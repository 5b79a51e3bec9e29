//go:build linux && amd64

package kvm

import (
	"iter"
	"sync"

	"golang.org/x/sys/unix"
)

// A space is the guest's address space: the program, and above floor what the
// guest maps, RAM that can be read and written.
//
// The VMM reads and writes guest memory through it, by the guest's addresses
// and with the guest's permissions. The guest can change what it has mapped
// while the VMM uses it; what comes of that is the guest's own loss, since
// whatever an address led to stays the guest's memory.
type space struct {
	mu     sync.RWMutex
	memory *memory
	ram    *ram
	table  *pageTable
	floor  uint64    // the lowest address that the guest may map
	taken  intervals // what mmap gave out, with or without memory behind it
}

// view appends to views, in the VMM's address space, the n bytes of the guest
// at address, all of which must be mapped, and writable if write is set. There
// is at most one view for each block that they touch.
func (s *space) view(views [][]byte, address, n uint64, write bool) ([][]byte, unix.Errno) {
	if address > endOfUserAddress || n > endOfUserAddress-address {
		return views, unix.EFAULT
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var run interval // what the last view is, physically
	for end := address + n; address < end; {
		l, ok := s.table.at(address)
		if !ok || !allows(l.load(), write) {
			return views, unix.EFAULT
		}
		offset := address - l.address
		length := min(l.size-offset, end-address)
		physical := l.physical() + offset
		if len(views) > 0 && physical == run.end {
			views = views[:len(views)-1]
		} else {
			run.start = physical
		}
		run.end = physical + length
		b := s.memory.at(run.start, run.end-run.start)
		if b == nil {
			return views, unix.EFAULT
		}
		views = append(views, b)
		address += length
	}
	return views, 0
}

func allows(e uint64, write bool) bool {
	return e&pteUser != 0 && (!write || e&pteWrite != 0)
}

// copyIn fills p with what the guest has at address, which must be writable if
// write is set. What it brought in is the VMM's own copy: nothing of the
// guest's is looked at twice.
func (s *space) copyIn(p []byte, address uint64, write bool) unix.Errno {
	var array [4][]byte
	views, errno := s.view(array[:0], address, uint64(len(p)), write)
	if errno != 0 {
		return errno
	}
	for _, v := range views {
		p = p[copy(p, v):]
	}
	return 0
}

// copyOut puts p at address.
func (s *space) copyOut(address uint64, p []byte) unix.Errno {
	var array [4][]byte
	views, errno := s.view(array[:0], address, uint64(len(p)), true)
	if errno != 0 {
		return errno
	}
	for _, v := range views {
		p = p[copy(v, p):]
	}
	return 0
}

// ramFlags are the rights to a page of RAM, all of them alike.
const ramFlags = pteUser | pteWrite | pteNoExec

// place takes size bytes of address space, at hint if they are free there, and
// returns where.
func (s *space) place(hint, size uint64) (uint64, unix.Errno) {
	if want := (interval{hint, hint + size}); s.mappable(want) && !s.taken.overlaps(want) {
		return hint, s.take(want)
	}
	align := uint64(pageSize)
	if size >= blockSize {
		align = blockSize
	}
	start := s.taken.below(searchTop, size, align)
	if start < s.floor {
		return 0, unix.ENOMEM
	}
	return start, s.take(interval{start, start + size})
}

func (s *space) take(v interval) unix.Errno {
	if len(s.taken) >= maxIntervals {
		return unix.ENOMEM
	}
	s.taken = s.taken.add(v)
	return 0
}

func (s *space) mappable(v interval) bool {
	return v.start >= s.floor && v.start < v.end && v.end <= maxAddress
}

// populate has memory that reads as zeros behind every page of v, none of
// which may have any.
func (s *space) populate(v interval) unix.Errno {
	if (v.end-v.start)/pageSize > s.ram.free() {
		return unix.ENOMEM
	}
	for address := v.start; address < v.end; {
		end := min(v.end, roundDown(address, blockSize)+blockSize)
		if err := s.back(interval{address, end}); err != nil {
			s.unmap(interval{v.start, end})
			return unix.ENOMEM
		}
		address = end
	}
	return 0
}

// enlarge has the whole blocks of v, all of which have memory, be huge pages.
func (s *space) enlarge(v interval) {
	for piece, offset := range s.pieces(v) {
		if piece.end-piece.start == blockSize {
			s.ram.enlarge(offset)
		}
	}
}

// back has memory behind v, which is a block or lies within one.
func (s *space) back(v interval) error {
	block := roundDown(v.start, blockSize)
	offset, ok := s.ram.bind(block)
	if !ok {
		return unix.ENOMEM
	}
	physical := ramPhysical + offset
	if v.end-v.start == blockSize {
		done, err := s.table.mapBlock(block, physical, ramFlags)
		if err != nil {
			return err
		}
		if done {
			s.ram.take(pagesPerBlock)
			return nil
		}
	}
	for page := v.start; page < v.end; page += pageSize {
		if err := s.table.mapPage(page, physical+page-block, ramFlags); err != nil {
			return err
		}
		s.ram.take(1)
	}
	return nil
}

// unmap takes the memory away from behind v.
func (s *space) unmap(v interval) unix.Errno {
	if !s.cut(v.start) || !s.cut(v.end) {
		return unix.ENOMEM
	}
	for piece, offset := range s.pieces(v) {
		// The entries have to be gone before the memory is discarded, which
		// flushes them.
		for address := piece.start; ; {
			l, ok := s.table.first(address, piece.end)
			if !ok {
				break
			}
			l.store(0)
			s.ram.release(l.size / pageSize)
			address = l.address + l.size
		}
		s.ram.discard(offset, piece.end-piece.start)
	}
	return 0
}

// cut sees to it that no block reaches across address.
func (s *space) cut(address uint64) bool {
	l, ok := s.table.at(address)
	if !ok || l.address == address || l.size == pageSize {
		return true
	}
	return s.table.split(l) == nil
}

// discard gives the memory behind v back to the system; what is mapped stays
// mapped and reads as zeros.
func (s *space) discard(v interval) {
	for piece, offset := range s.pieces(v) {
		s.ram.discard(offset, piece.end-piece.start)
	}
}

// pieces returns the parts of v in each block that has memory behind it, and
// where in RAM it is.
func (s *space) pieces(v interval) iter.Seq2[interval, uint64] {
	return func(yield func(interval, uint64) bool) {
		for address := v.start; address < v.end; {
			l, ok := s.table.first(address, v.end)
			if !ok {
				return
			}
			block := roundDown(l.address, blockSize)
			piece := interval{max(block, v.start), min(block+blockSize, v.end)}
			offset := s.ram.behind[block]
			if !yield(piece, offset+piece.start-block) {
				return
			}
			address = block + blockSize
		}
	}
}

// mapShared has the page at address lead to memory outside the guest's RAM.
func (s *space) mapShared(address, physical, flags uint64) error {
	return s.table.mapPage(address, physical, flags)
}

// peak returns the greatest number of bytes of memory that the guest has had.
func (s *space) peak() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(s.ram.peak * pageSize)
}
