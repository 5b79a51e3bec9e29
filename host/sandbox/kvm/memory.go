//go:build linux && amd64

package kvm

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// memory is what the guest's physical addresses stand for: three regions of
// the VMM's address space.
type memory struct {
	system []byte // written by the VMM alone
	image  []byte // the executable file, read-only
	ram    []byte // the guest's own
	limit  uint64 // how many bytes of ram it may have at a time
}

// scatter is by how much RAM is longer than what the guest may have of it: a
// block of RAM is bound to its address even if the guest uses one page of it.
const scatter = 64 << 20

// newMemory reserves the regions: ram for a guest that may have size bytes, and
// behind image the first length bytes of the file fd. Nothing of ram takes up
// memory before the guest has touched it. Where address space is limited
// (RLIMIT_AS) the guest may get less, but not less than MinMemory.
func newMemory(size int64, fd int, length int64) (*memory, error) {
	if length <= 0 || length > maxImage {
		return nil, fmt.Errorf("executable of %d bytes", length)
	}
	limit := roundUp(uint64(size), blockSize)
	ram, err := reserveAligned(limit + scatter)
	for errors.Is(err, unix.ENOMEM) && limit/2 >= MinMemory {
		limit = roundUp(limit/2, blockSize)
		ram, err = reserveAligned(limit + scatter)
	}
	if err != nil {
		return nil, err
	}
	system, err := reserve(pagesOffset + tableBudget(uint64(len(ram)), uint64(length)))
	if err != nil {
		return nil, err
	}
	image, err := unix.Mmap(fd, 0, int(roundUp(uint64(length), pageSize)), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map the executable: %w", err)
	}
	return &memory{system: system, image: image, ram: ram, limit: limit}, nil
}

// release gives the regions back.
func (m *memory) release() {
	for _, b := range [][]byte{m.system, m.image, m.ram} {
		unmap(b)
	}
}

// tableBudget returns how many bytes page tables can take up at most: tables of
// three levels for each block of RAM, wherever it is bound, and for each block
// of the program's image, and some for the special pages.
func tableBudget(ram, image uint64) uint64 {
	const special = 16
	return (3*(ram/blockSize) + 3*(image/blockSize+2) + special) * pageSize
}

func reserve(size uint64) ([]byte, error) {
	if size > math.MaxInt64 {
		return nil, fmt.Errorf("cannot reserve %d bytes for the guest", size)
	}
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d MiB of address space for the guest (see ulimit -v): %w", size>>20, err)
	}
	return b, nil
}

// headroom is the address space that has to be left for the VMM itself.
const headroom = 64 << 20

// reserveAligned reserves size bytes that begin at a multiple of blockSize, so
// that blocks can be huge pages of the VMM too, see [ram.enlarge].
func reserveAligned(size uint64) ([]byte, error) {
	b, err := reserve(size + blockSize + headroom)
	if err != nil {
		return nil, err
	}
	skip := -address(b) % blockSize
	unmap(b[:skip])
	unmap(b[skip+size:])
	b = b[skip : skip+size : skip+size]
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) // where there are none, there is nothing to turn off
	return b, nil
}

// at returns the n bytes at a guest-physical address, or nil if not all of
// them are the guest's memory.
func (m *memory) at(physical, n uint64) []byte {
	switch {
	case physical >= ramPhysical:
		return within(m.ram, physical-ramPhysical, n)
	case physical >= imagePhysical:
		return within(m.image, physical-imagePhysical, n)
	}
	return within(m.system, physical-systemPhysical, n)
}

func within(b []byte, offset, n uint64) []byte {
	if offset > uint64(len(b)) || n > uint64(len(b))-offset {
		return nil
	}
	return b[offset : offset+n : offset+n]
}

func roundUp(n, unit uint64) uint64   { return (n + unit - 1) / unit * unit }
func roundDown(n, unit uint64) uint64 { return n / unit * unit }
