//go:build linux && amd64

package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const pagesPerBlock = blockSize / pageSize

// ram is the guest's own memory, of which it has at most limit pages at a time.
//
// It is bound to addresses for good: all pages of one block of the address
// space lead to one block of RAM, each page to the place in it that it has in
// its own block, and a block of RAM never comes to lie anywhere else. A KVM
// without nested paging keeps page tables of its own, made from the guest's,
// and does not see the VMM change the latter. What it keeps may then lack a
// page, which a fault brings, or have one too many, which [ram.discard] takes
// away; but it never leads to another page than the guest's tables do, nor
// with other rights.
type ram struct {
	bytes  []byte
	behind map[uint64]uint64 // the offset in bytes, by the block's address
	limit  uint64            // pages
	used   uint64            // pages
	peak   uint64            // pages
}

func newRAM(bytes []byte, limit uint64) *ram {
	return &ram{bytes: bytes, behind: map[uint64]uint64{}, limit: limit / pageSize}
}

// bind returns the offset of the block of RAM behind a block of the address
// space, if there is one or one is left.
func (r *ram) bind(block uint64) (uint64, bool) {
	if offset, ok := r.behind[block]; ok {
		return offset, true
	}
	offset := uint64(len(r.behind)) * blockSize
	if offset+blockSize > uint64(len(r.bytes)) {
		return 0, false
	}
	r.behind[block] = offset
	return offset, true
}

// free returns the number of pages that can still be had.
func (r *ram) free() uint64 { return r.limit - r.used }

func (r *ram) take(pages uint64) {
	r.used += pages
	r.peak = max(r.peak, r.used)
}

func (r *ram) release(pages uint64) { r.used -= pages }

// enlarge has the block of RAM at offset be a huge page once it is touched, which
// is cleared whole then. Without huge pages everything works, only slower.
func (r *ram) enlarge(offset uint64) {
	_ = unix.Madvise(r.bytes[offset:offset+blockSize], unix.MADV_HUGEPAGE)
}

// discard gives the memory behind size bytes of RAM back to the system; they
// read as zeros from then on. It is the flush too: KVM drops every translation
// that ends in memory which the VMM discards, on all virtual processors, so
// that none can outlive its page-table entry.
func (r *ram) discard(offset, size uint64) {
	if err := unix.Madvise(r.bytes[offset:offset+size], unix.MADV_DONTNEED); err != nil {
		panic(fmt.Sprintf("kvm: discard guest memory: %v", err))
	}
}
