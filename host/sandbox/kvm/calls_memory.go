//go:build linux && amd64

package kvm

import "golang.org/x/sys/unix"

// mmap gives out address space, with memory behind it unless prot is
// PROT_NONE. Nothing that the guest maps can be executed.
func (g *guest) mmap(_ *thread, a args) (uint64, unix.Errno) {
	size := roundUp(a[1], pageSize)
	if a[1] == 0 || a[1] > maxAddress {
		return 0, unix.EINVAL
	}
	fixed := a[3]&unix.MAP_FIXED != 0
	if fixed && (a[0]%pageSize != 0 || a[0] > maxAddress) {
		return 0, unix.EINVAL
	}
	s := g.space
	s.mu.Lock()
	defer s.mu.Unlock()
	v := interval{a[0], a[0] + size}
	if fixed {
		if !mappable(v) {
			return 0, unix.ENOMEM
		}
		if errno := s.unmap(v); errno != 0 {
			return 0, g.short(errno)
		}
		if errno := s.take(v); errno != 0 {
			return 0, g.short(errno)
		}
	} else {
		start, errno := s.place(roundDown(min(a[0], maxAddress), pageSize), size)
		if errno != 0 {
			return 0, g.short(errno)
		}
		v = interval{start, start + size}
	}
	if a[2] == unix.PROT_NONE {
		return v.start, 0
	}
	flags := uint64(pteUser | pteNoExec)
	if a[2]&unix.PROT_WRITE != 0 {
		flags |= pteWrite
	}
	if errno := s.populate(v, flags); errno != 0 {
		s.taken = s.taken.remove(v)
		return 0, g.short(errno)
	}
	return v.start, 0
}

// short notes that the guest was refused memory, which is what the failure to
// come will be put down to.
func (g *guest) short(errno unix.Errno) unix.Errno {
	if errno == unix.ENOMEM {
		g.outOfMemory.Store(true)
	}
	return errno
}

// munmap takes address space back, and the memory behind it.
func (g *guest) munmap(_ *thread, a args) (uint64, unix.Errno) {
	v, errno := pageRange(a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	s := g.space
	s.mu.Lock()
	defer s.mu.Unlock()
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
// the content of any more. Advice that asks for nothing else is good for
// nothing here, and harmless.
func (g *guest) madvise(_ *thread, a args) (uint64, unix.Errno) {
	v, errno := pageRange(a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	switch a[2] {
	case unix.MADV_DONTNEED, unix.MADV_FREE:
		g.space.mu.Lock()
		defer g.space.mu.Unlock()
		g.space.discard(v)
	case unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE:
	default:
		return 0, unix.EINVAL
	}
	return 0, 0
}

func pageRange(address, n uint64) (interval, unix.Errno) {
	if address%pageSize != 0 || n == 0 || n > maxAddress {
		return interval{}, unix.EINVAL
	}
	v := interval{address, address + roundUp(n, pageSize)}
	if address > maxAddress || !mappable(v) {
		return interval{}, unix.EINVAL
	}
	return v, 0
}
