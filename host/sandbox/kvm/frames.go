//go:build linux && amd64

package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const pagesPerBlock = blockSize / pageSize

// frames hands out the guest's RAM in pages and in aligned blocks. What it
// hands out reads as zeros.
type frames struct {
	ram        []byte
	unused     uint64   // offset in ram from which on no block was handed out yet
	blocks     []uint64 // free blocks below unused
	pages      []uint64 // free pages below unused
	used, peak uint64   // pages
}

func newFrames(ram []byte) *frames { return &frames{ram: ram} }

// free returns the number of pages that can still be had.
func (f *frames) free() uint64 { return uint64(len(f.ram))/pageSize - f.used }

// block returns the offset in RAM of a block, if there is a whole one left.
func (f *frames) block() (uint64, bool) {
	offset, ok := f.takeBlock()
	if ok {
		f.count(pagesPerBlock)
	}
	return offset, ok
}

// page returns the offset in RAM of a page, if there is one left.
func (f *frames) page() (uint64, bool) {
	if len(f.pages) == 0 {
		block, ok := f.takeBlock()
		if !ok {
			return 0, false
		}
		// In ascending order from the end, so that neighbours are handed
		// out one after the other and a buffer is one piece of memory.
		for p := block + blockSize; p > block; p -= pageSize {
			f.pages = append(f.pages, p-pageSize)
		}
	}
	last := len(f.pages) - 1
	offset := f.pages[last]
	f.pages = f.pages[:last]
	f.count(1)
	return offset, true
}

func (f *frames) takeBlock() (uint64, bool) {
	if last := len(f.blocks) - 1; last >= 0 {
		offset := f.blocks[last]
		f.blocks = f.blocks[:last]
		return offset, true
	}
	if uint64(len(f.ram))-f.unused < blockSize {
		return 0, false
	}
	f.unused += blockSize
	return f.unused - blockSize, true
}

func (f *frames) count(pages uint64) {
	f.used += pages
	f.peak = max(f.peak, f.used)
}

// release takes back the page or the block at offset, which reads as zeros: it
// was never used, or discarded.
func (f *frames) release(offset, size uint64) {
	f.used -= size / pageSize
	if size == blockSize {
		f.blocks = append(f.blocks, offset)
	} else {
		f.pages = append(f.pages, offset)
	}
}

// discard gives the memory behind size bytes of RAM back to the system; they
// read as zeros from then on. It is the flush too: KVM drops every translation
// that ends in memory which the VMM discards, on all virtual processors, so
// that none can outlive its page-table entry.
func (f *frames) discard(offset, size uint64) {
	if err := unix.Madvise(f.ram[offset:offset+size], unix.MADV_DONTNEED); err != nil {
		panic(fmt.Sprintf("kvm: discard guest memory: %v", err))
	}
}
