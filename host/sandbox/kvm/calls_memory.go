//go:build linux && amd64

package kvm

import "golang.org/x/sys/unix"

// mmap gives out address space, with memory behind it unless prot is
// PROT_NONE. Nothing that the guest maps can be executed.
func (g *guest) mmap(r *request) (uint64, unix.Errno) {
	size := roundUp(r.args[1], pageSize)
	if r.args[1] == 0 || r.args[1] > maxAddress {
		return 0, unix.EINVAL
	}
	fixed := r.args[3]&unix.MAP_FIXED != 0
	if fixed && (r.args[0]%pageSize != 0 || r.args[0] > maxAddress) {
		return 0, unix.EINVAL
	}
	s := g.space
	s.mu.Lock()
	defer s.mu.Unlock()
	v := interval{r.args[0], r.args[0] + size}
	if fixed {
		if !s.mappable(v) {
			return 0, unix.ENOMEM
		}
		if errno := s.unmap(v); errno != 0 {
			return 0, g.short(errno)
		}
		if errno := s.take(v); errno != 0 {
			return 0, g.short(errno)
		}
	} else {
		start, errno := s.place(roundDown(min(r.args[0], maxAddress), pageSize), size)
		if errno != 0 {
			return 0, g.short(errno)
		}
		v = interval{start, start + size}
	}
	if r.args[2] == unix.PROT_NONE {
		return v.start, 0
	}
	if errno := s.populate(v); errno != 0 {
		s.taken = s.taken.remove(v)
		return 0, g.short(errno)
	}
	// Go's heap goes where it was reserved before. What goes anywhere are tables
	// of the runtime, of which a page here and there is used.
	if fixed {
		s.enlarge(v)
	}
	return v.start, 0
}

// short notes that the guest was refused memory, which is what the failure to
// come will be put down to.
func (g *guest) short(errno unix.Errno) unix.Errno {
	if errno == unix.ENOMEM {
		g.shortage.CompareAndSwap(nil, &outOfMemory)
	}
	return errno
}

// munmap takes address space back, and the memory behind it.
func (g *guest) munmap(r *request) (uint64, unix.Errno) {
	s := g.space
	s.mu.Lock()
	defer s.mu.Unlock()
	v, errno := s.pageRange(r.args[0], r.args[1])
	if errno != 0 {
		return 0, errno
	}
	if len(s.taken) >= maxIntervals {
		return 0, unix.ENOMEM
	}
	if errno := s.unmap(v); errno != 0 {
		return 0, errno
	}
	s.taken = s.taken.remove(v)
	return 0, 0
}

// madvise gives back the memory behind a range that the guest does not need
// the content of any more. What the table permits beside that is advice about
// the size of pages, which is good for nothing here, and harmless.
func (g *guest) madvise(r *request) (uint64, unix.Errno) {
	s := g.space
	s.mu.Lock()
	defer s.mu.Unlock()
	v, errno := s.pageRange(r.args[0], r.args[1])
	if errno == 0 && r.args[2] == unix.MADV_DONTNEED {
		s.discard(v)
	}
	return 0, errno
}

// pageRange returns the pages that a call names, all of which the guest may
// map.
func (s *space) pageRange(address, n uint64) (interval, unix.Errno) {
	if address%pageSize != 0 || n == 0 || n > maxAddress {
		return interval{}, unix.EINVAL
	}
	v := interval{address, address + roundUp(n, pageSize)}
	if address > maxAddress || !s.mappable(v) {
		return interval{}, unix.EINVAL
	}
	return v, 0
}
