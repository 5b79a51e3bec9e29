//go:build linux && amd64

package kvm

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestIntervals compares the set with a map of its members.
func TestIntervals(t *testing.T) {
	const size = 64
	rapid.Check(t, func(t *rapid.T) {
		var set intervals
		var member [size]bool
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			start := rapid.IntRange(0, size-1).Draw(t, "start")
			end := rapid.IntRange(start+1, size).Draw(t, "end")
			v := interval{uint64(start), uint64(end)}
			if want := slices.Contains(member[start:end], true); set.overlaps(v) != want {
				t.Fatalf("%v overlaps %v: %v", set, v, !want)
			}
			add := rapid.Bool().Draw(t, "add")
			if add {
				set = set.add(v)
			} else {
				set = set.remove(v)
			}
			for i := start; i < end; i++ {
				member[i] = add
			}
			var want intervals
			for i := 0; i < size; i++ {
				if member[i] && (i == 0 || !member[i-1]) {
					want = append(want, interval{start: uint64(i)})
				}
				if member[i] {
					want[len(want)-1].end = uint64(i + 1)
				}
			}
			if !slices.Equal(set, want) {
				t.Fatalf("%v, want %v", set, want)
			}
		}
	})
}

func TestIntervalsBelow(t *testing.T) {
	const m = minAddress
	set := intervals{{m + 10, m + 20}, {m + 40, m + 50}}
	for _, c := range []struct{ top, size, align, want uint64 }{
		{m + 100, 10, 1, m + 90},
		{m + 100, 50, 1, m + 50},
		{m + 100, 51, 1, 0},
		{m + 45, 10, 1, m + 30},
		{m + 45, 20, 1, m + 20},
		{m + 45, 21, 1, 0},
		{m + 15, 10, 1, m},
		{m + 15, 11, 1, 0},
		{m + 100, 10, 16, m + 80},
		{m + 100, 10, 1 << 20, 0},
		{m, 1, 1, 0},
	} {
		if got := set.below(c.top, c.size, c.align); got != c.want {
			t.Errorf("below(%#x, %d, %d) = %#x, want %#x", c.top, c.size, c.align, got, c.want)
		}
	}
}

// TestMemory maps, unmaps and discards at random, and compares what the guest
// sees with a map of its pages.
func TestMemory(t *testing.T) {
	f := newFixture(t)
	const (
		base  = 0x10_0000_0000
		pages = 4 * pagesPerBlock
	)
	anon := uint64(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED)
	used := f.g.space.ram.used
	rapid.Check(t, func(t *rapid.T) {
		content := map[uint64]byte{} // of what is mapped writable, by page
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			// Pages around the bounds of blocks, and blocks.
			unit := rapid.SampledFrom([]uint64{1, pagesPerBlock}).Draw(t, "unit")
			start := rapid.Uint64Range(0, pages/unit-1).Draw(t, "start") * unit
			n := rapid.Uint64Range(1, pages-start).Draw(t, "pages")
			address, size := base+start*pageSize, n*pageSize
			switch rapid.IntRange(0, 3).Draw(t, "call") {
			case 0:
				f.must(unix.SYS_MMAP, address, size, unix.PROT_READ|unix.PROT_WRITE, anon, noFD)
				for p := start; p < start+n; p++ {
					content[p] = 0
				}
			case 1:
				f.must(unix.SYS_MUNMAP, address, size)
				for p := start; p < start+n; p++ {
					delete(content, p)
				}
			case 2:
				f.must(unix.SYS_MADVISE, address, size, unix.MADV_DONTNEED)
				for p := start; p < start+n; p++ {
					if _, ok := content[p]; ok {
						content[p] = 0
					}
				}
			case 3:
				b := rapid.Byte().Draw(t, "content")
				errno := f.g.space.copyOut(address+7, []byte{b})
				if _, ok := content[start]; ok != (errno == 0) {
					t.Fatalf("page %d is mapped: %v, but writing it: %v", start, ok, errno)
				} else if ok {
					content[start] = b
				}
			}
			for p := range uint64(pages) {
				var got [1]byte
				errno := f.g.space.copyIn(got[:], base+p*pageSize+7, true)
				if want, ok := content[p]; ok != (errno == 0) || got[0] != want {
					t.Fatalf("page %d: %d, %v; want %d, mapped %v", p, got[0], errno, want, ok)
				}
			}
			if got := f.g.space.ram.used - used; got != uint64(len(content)) {
				t.Fatalf("%d pages are in use, %d are mapped", got, len(content))
			}
		}
		f.must(unix.SYS_MUNMAP, base, pages*pageSize)
	})
}

// TestMemoryRunsOut shows that a mapping that does not fit leaves nothing
// behind.
func TestMemoryRunsOut(t *testing.T) {
	f := newFixture(t)
	rw, anon := uint64(unix.PROT_READ|unix.PROT_WRITE), uint64(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	before := f.g.space.ram.free()
	if _, errno := f.call(unix.SYS_MMAP, 0, (before+1)*pageSize, rw, anon, noFD); errno != unix.ENOMEM {
		t.Errorf("mapping more than there is: %v", errno)
	}
	if after := f.g.space.ram.free(); after != before {
		t.Errorf("%d pages are free, %d before", after, before)
	}
	if f.g.shortage.Load() != &outOfMemory {
		t.Error("it went unnoticed")
	}
	a := f.must(unix.SYS_MMAP, 0, before*pageSize, rw, anon, noFD)
	if f.g.space.ram.free() != 0 {
		t.Errorf("%d pages are free", f.g.space.ram.free())
	}
	f.must(unix.SYS_MUNMAP, a, before*pageSize)
}

// TestScatter shows that pages that are scattered over the address space
// come to an end, before there is no room for page tables.
func TestScatter(t *testing.T) {
	f := newFixture(t)
	anon := uint64(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED)
	for i := range uint64(4000) {
		_, errno := f.call(unix.SYS_MMAP, (i+1)<<30, pageSize, unix.PROT_READ|unix.PROT_WRITE, anon, noFD)
		if errno == unix.ENOMEM {
			if f.g.space.ram.free() == 0 || len(f.g.space.ram.behind) != len(f.g.space.ram.bytes)/blockSize {
				t.Errorf("the end came after %d blocks of RAM, with %d pages left", len(f.g.space.ram.behind), f.g.space.ram.free())
			}
			return
		}
		if errno != 0 {
			t.Fatal(errno)
		}
	}
	t.Error("page tables without end")
}

// TestView shows that what lies in one block makes one view, whatever order
// its pages were mapped in.
func TestView(t *testing.T) {
	f := newFixture(t)
	views, errno := f.g.space.view(nil, f.buf+1, 64<<10-1, true)
	if errno != 0 || len(views) != 1 || len(views[0]) != 64<<10-1 {
		t.Fatalf("%d views, %v", len(views), errno)
	}
	rw, anon := uint64(unix.PROT_READ|unix.PROT_WRITE), uint64(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	const base, n = 0x20_0000_0000, 2*pagesPerBlock + 10
	f.must(unix.SYS_MMAP, base+2*blockSize, pageSize, rw, anon, noFD)
	for i := range uint64(n) { // every other page first
		f.must(unix.SYS_MMAP, base+i*2%n*pageSize+i/(n/2)*pageSize, pageSize, rw, anon, noFD)
	}
	views, errno = f.g.space.view(views[:0], base, n*pageSize, true)
	if errno != 0 || len(views) > 3 {
		t.Errorf("%d views, %v", len(views), errno)
	}
	if got := bytes.Join(views, nil); len(got) != n*pageSize {
		t.Errorf("%d bytes", len(got))
	}
}

// TestMemoryStaysWhereItIs shows that an address never leads to another page of
// RAM than before, and no page is led to from another address: what a KVM keeps
// of page tables that it does not see change stays true.
func TestMemoryStaysWhereItIs(t *testing.T) {
	f := newFixture(t)
	const (
		base  = 0x10_0000_0000
		pages = 6 * pagesPerBlock
	)
	leads, from := map[uint64]uint64{}, map[uint64]uint64{} // between addresses and RAM
	anon := uint64(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED)
	rapid.Check(t, func(t *rapid.T) {
		for range 10 {
			unit := rapid.SampledFrom([]uint64{1, pagesPerBlock}).Draw(t, "unit")
			start := rapid.Uint64Range(0, pages/unit-1).Draw(t, "start") * unit
			n := rapid.Uint64Range(1, pages-start).Draw(t, "pages")
			number, prot := uint64(unix.SYS_MMAP), rapid.SampledFrom([]uint64{unix.PROT_READ, unix.PROT_READ | unix.PROT_WRITE}).Draw(t, "prot")
			if rapid.Bool().Draw(t, "unmap") {
				number = unix.SYS_MUNMAP
			}
			f.must(number, base+start*pageSize, n*pageSize, prot, anon, noFD)
			for p := range uint64(pages) {
				address := base + p*pageSize
				l, ok := f.g.space.table.at(address)
				if !ok {
					continue
				}
				physical := l.physical() + address - l.address
				if old, ok := leads[address]; ok && old != physical {
					t.Fatalf("%#x led to %#x, and leads to %#x", address, old, physical)
				}
				if old, ok := from[physical]; ok && old != address {
					t.Fatalf("%#x and %#x both lead to %#x", old, address, physical)
				}
				if rights := l.load() & (pteUser | pteWrite | pteNoExec); rights != ramFlags {
					t.Fatalf("%#x has the rights %#x", address, rights)
				}
				leads[address], from[physical] = physical, address
			}
		}
	})
}
