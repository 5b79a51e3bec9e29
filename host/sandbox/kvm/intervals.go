//go:build linux && amd64

package kvm

import "slices"

// maxIntervals bounds how finely the guest may divide its address space.
const maxIntervals = 4096

// An interval is the addresses from start up to end.
type interval struct{ start, end uint64 }

// intervals is a set of addresses: intervals in ascending order that neither
// touch nor overlap.
type intervals []interval

// firstAfter returns the index of the first interval that ends after address.
func (s intervals) firstAfter(address uint64) int {
	i, _ := slices.BinarySearchFunc(s, address, func(v interval, a uint64) int {
		if v.end <= a {
			return -1
		}
		return 1
	})
	return i
}

// overlaps reports whether an address of v is in the set.
func (s intervals) overlaps(v interval) bool {
	i := s.firstAfter(v.start)
	return i < len(s) && s[i].start < v.end
}

// add puts v into the set.
func (s intervals) add(v interval) intervals {
	i := s.firstAfter(v.start)
	if i > 0 && s[i-1].end == v.start {
		i--
	}
	j := i
	for ; j < len(s) && s[j].start <= v.end; j++ {
		v.start = min(v.start, s[j].start)
		v.end = max(v.end, s[j].end)
	}
	return slices.Replace(s, i, j, v)
}

// remove takes v out of the set.
func (s intervals) remove(v interval) intervals {
	i := s.firstAfter(v.start)
	j := i
	var rest []interval
	for ; j < len(s) && s[j].start < v.end; j++ {
		if s[j].start < v.start {
			rest = append(rest, interval{s[j].start, v.start})
		}
		if s[j].end > v.end {
			rest = append(rest, interval{v.end, s[j].end})
		}
	}
	return slices.Replace(s, i, j, rest...)
}

// below returns the highest multiple of align from which size bytes are free
// that end at or below top, or 0.
func (s intervals) below(top, size, align uint64) uint64 {
	for i := s.firstAfter(top); ; i-- {
		if i < len(s) && s[i].start < top {
			top = s[i].start
		}
		bottom := uint64(minAddress)
		if i > 0 {
			bottom = s[i-1].end
		}
		if top > size && roundDown(top-size, align) >= bottom {
			return roundDown(top-size, align)
		}
		if i == 0 {
			return 0
		}
		top = min(top, s[i-1].start)
	}
}
