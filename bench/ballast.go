package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A ballast holds one page of each huge page of the memory that is free. A
// hypervisor that is told of free memory (free page reporting, of whole huge pages)
// takes it back, and whoever is the next to use it waits for it: some run or other,
// for longer than the work takes. Of memory in small pieces it is not told.
type ballast struct {
	memory []byte
}

const (
	hugePage    = 2 << 20
	ballastLess = 512 << 20 // left as it is, for those who want huge pages
)

// reporting says whether the kernel tells a hypervisor of free memory.
func reporting() bool {
	_, err := os.Stat("/sys/module/page_reporting/parameters/page_reporting_order")
	return err == nil
}

func newBallast() (*ballast, error) {
	free, err := freeMemory()
	if err != nil {
		return nil, err
	}
	n := (free - ballastLess) / hugePage * hugePage
	if n <= 0 {
		return &ballast{}, nil
	}
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("ballast of %d bytes: %w", n, err)
	}
	b := &ballast{m}
	if err := unix.Madvise(m, unix.MADV_NOHUGEPAGE); err != nil {
		return b, fmt.Errorf("ballast: %w", err)
	}
	page := os.Getpagesize()
	for i := 0; i < len(m); i += page {
		m[i] = 1
	}
	for i := 0; i < len(m); i += hugePage {
		if err := unix.Madvise(m[i+page:i+hugePage], unix.MADV_DONTNEED); err != nil {
			return b, fmt.Errorf("ballast: %w", err)
		}
	}
	return b, nil
}

func (b *ballast) drop() {
	if b != nil && b.memory != nil {
		_ = unix.Munmap(b.memory)
	}
}

// freeMemory returns how many bytes nobody uses, not even for the page cache.
func freeMemory() (int64, error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemFree: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/meminfo: no MemFree")
}
