//go:build linux && amd64

package kvm

import (
	"sync"

	"golang.org/x/sys/unix"
)

// A space is the guest's address space.
//
// The VMM reads and writes guest memory through it, by the guest's addresses
// and with the guest's permissions. The guest can change what it has mapped
// while the VMM uses it; what comes of that is the guest's own loss, since
// whatever an address led to stays the guest's memory.
type space struct {
	mu     sync.RWMutex
	memory *memory
	frames *frames
	table  *pageTable
	taken  intervals // what mmap gave out, with or without memory behind it
}

// view appends to views, in the VMM's address space, the n bytes of the guest
// at address, all of which must be mapped, and writable if write is set. The
// views are fewer bytes than n when there would be more than maxViews of them.
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
		if len(views) == maxViews {
			break
		}
		b := s.memory.at(run.start, run.end-run.start)
		if b == nil {
			return views, unix.EFAULT
		}
		views = append(views, b)
		address += length
	}
	return views, 0
}

// maxViews is the greatest number of pieces that the kernel takes in one call
// (IOV_MAX).
const maxViews = 1024

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

// place takes size bytes of address space, at hint if they are free there, and
// returns where.
func (s *space) place(hint, size uint64) (uint64, unix.Errno) {
	if want := (interval{hint, hint + size}); hint != 0 && mappable(want) && !s.taken.overlaps(want) {
		return hint, s.take(want)
	}
	align := uint64(pageSize)
	if size >= blockSize {
		align = blockSize
	}
	start := s.taken.below(searchTop, size, align)
	if start == 0 {
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

func mappable(v interval) bool {
	return v.start >= minAddress && v.start < v.end && v.end <= maxAddress
}

// populate has memory that reads as zeros behind every page of v, none of
// which may have any.
func (s *space) populate(v interval, flags uint64) unix.Errno {
	if (v.end-v.start)/pageSize > s.frames.free() {
		return unix.ENOMEM
	}
	for address := v.start; address < v.end; {
		size, err := s.back(address, v.end-address, flags)
		if err != nil {
			s.unmap(interval{v.start, address})
			return unix.ENOMEM
		}
		address += size
	}
	return 0
}

// back has memory behind the block, or else the page, at address, and returns
// its size. room is the number of bytes that are to be backed from there on.
func (s *space) back(address, room, flags uint64) (uint64, error) {
	if address%blockSize == 0 && room >= blockSize {
		if offset, ok := s.frames.block(); ok {
			done, err := s.table.mapBlock(address, ramPhysical+offset, flags)
			if done {
				return blockSize, nil
			}
			s.frames.release(offset, blockSize)
			if err != nil {
				return 0, err
			}
		}
	}
	offset, ok := s.frames.page()
	if !ok {
		return 0, unix.ENOMEM
	}
	if err := s.table.mapPage(address, ramPhysical+offset, flags); err != nil {
		s.frames.release(offset, pageSize)
		return 0, err
	}
	return pageSize, nil
}

// unmap takes the memory away from behind v.
func (s *space) unmap(v interval) unix.Errno {
	if !s.cut(v.start) || !s.cut(v.end) {
		return unix.ENOMEM
	}
	// An entry has to be gone before its memory is discarded, which flushes
	// it.
	s.ram(v, func(l leaf) { l.store(0) }, s.frames.discard, s.frames.release)
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
	s.ram(v, func(leaf) {}, s.frames.discard, func(uint64, uint64) {})
}

// ram visits the leaves that map something of v: each first, then the pieces
// of RAM, as offset and size, that they and v have in common, as large as they
// come, and then the leaves' RAM one by one.
func (s *space) ram(v interval, entry func(leaf), piece, frame func(offset, size uint64)) {
	var run interval
	var pending []interval
	finish := func() {
		if run.end > run.start {
			piece(run.start, run.end-run.start)
		}
		for _, p := range pending {
			frame(p.start, p.end-p.start)
		}
		pending = pending[:0]
	}
	for address := v.start; address < v.end; {
		l, ok := s.table.first(address, v.end)
		if !ok {
			break
		}
		physical := l.physical()
		from, to := max(l.address, v.start), min(l.address+l.size, v.end)
		address = l.address + l.size
		entry(l)
		if physical < ramPhysical {
			continue
		}
		start := physical - ramPhysical + (from - l.address)
		if start != run.end || len(pending) == 0 {
			finish()
			run.start = start
		}
		run.end = start + (to - from)
		pending = append(pending, interval{physical - ramPhysical, physical - ramPhysical + l.size})
	}
	finish()
}

// mapShared has the page at address lead to memory outside the guest's RAM.
func (s *space) mapShared(address, physical, flags uint64) error {
	return s.table.mapPage(address, physical, flags)
}

// peak returns the greatest number of bytes of memory that the guest has had.
func (s *space) peak() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(s.frames.peak * pageSize)
}
