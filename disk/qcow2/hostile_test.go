package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
)

// within fails the test if f takes longer than it may on a busy machine.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d > limit {
		t.Errorf("took %v; may take %v", d, limit)
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestOneClusterInAHugeDisk(t *testing.T) {
	for _, size := range []uint64{8 << 40, 1 << 50} {
		b := builder{size: size}.build()
		last := int64(size>>16) - 1
		b.data(last, []byte{1})
		within(t, time.Second, func() {
			img, err := b.open(disk.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var list []disk.Extent
			for off := int64(0); off < img.Size(); {
				e, err := img.Extent(off, img.Size())
				if err != nil {
					t.Fatal(err)
				}
				list, off = append(list, e), e.End()
			}
			if len(list) != 2 || list[0].Kind != disk.Unallocated || list[1].Kind != disk.Data || list[1].Start != last<<16 {
				t.Errorf("extents of a disk of %d bytes: %v", size, list)
			}
		})
	}
}

// TestWorkOfOneExtentIsBounded has each L1 entry of the largest disk there is
// point to the same table of zero clusters: 2^40 entries that are one run.
func TestWorkOfOneExtentIsBounded(t *testing.T) {
	b := builder{size: 1 << 61, bits: 21}.build()
	b.set(0, flagZero)
	table := b.entry(0)
	for k := range int64(1 << 18) {
		b.put64(table+k*8, flagZero)
	}
	for k := range int64(1 << 22) {
		b.put64(b.l1+k*8, uint64(table)|flagCopied)
	}
	b.put32(atL1Size, 1<<22)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, func() {
		e, err := img.Extent(1<<40, 1<<60)
		if err != nil || e.Kind != disk.Zero || e.Length < 1<<40 {
			t.Errorf("extent %v, %v", e, err)
		}
	})
}

// A scattered file is a 64 TiB image whose L2 tables are all different, with
// every cluster allocated. It is made as it is read.
type scattered struct{ header []byte }

const scatteredL1, scatteredL2 = 2 << 16, 1 << 30

func (s scattered) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	switch {
	case off < int64(len(s.header)):
		copy(p, s.header[off:])
	case off >= scatteredL1 && off < scatteredL2:
		for k := int64(0); k+8 <= int64(len(p)); k += 8 {
			binary.BigEndian.PutUint64(p[k:], uint64(scatteredL2+(off+k-scatteredL1)/8<<16))
		}
	case off >= scatteredL2:
		for k := int64(0); k+8 <= int64(len(p)); k += 8 {
			binary.BigEndian.PutUint64(p[k:], uint64(1<<50+(off+k)<<16))
		}
	}
	return len(p), nil
}

func (s scattered) Size() (int64, error) { return 1 << 60, nil }

func TestMemoryIsBounded(t *testing.T) {
	b := builder{size: 64 << 40}.build()
	before := heap()
	img, err := qcow2.Format.Open(scattered{b.image[:112]}, disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		e, err := img.Extent(r.Int64N(img.Size()), 1<<20)
		if err != nil || e.Kind != disk.Data {
			t.Fatalf("extent %v, %v", e, err)
		}
	}
	if used := heap() - before; used > 16<<20 {
		t.Errorf("%d bytes in use; may be 16 MiB", used)
	}
	runtime.KeepAlive(img)
}

// TestBombs reads disks each cluster of which is one and the same bomb.
func TestBombs(t *testing.T) {
	for _, tc := range []struct {
		zstd bool
		fail bool
	}{
		{zstd: false, fail: false}, // QEMU takes a cluster of it, and so do we
		{zstd: true, fail: true},
	} {
		b := builder{size: 64 << 20, zstd: tc.zstd}.build()
		if tc.zstd {
			b.packed(0, zstded(make([]byte, 256<<20)))
		} else {
			b.packed(0, deflated(make([]byte, 32<<20))[:20000])
		}
		bomb := binary.BigEndian.Uint64(b.at(b.entry(0), 8))
		for k := range int64(64 << 20 >> 16) {
			b.set(k, bomb)
		}
		img, err := b.open(disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		within(t, 20*time.Second, func() {
			p := make([]byte, 1<<20)
			for off := int64(0); off < img.Size(); off += int64(len(p)) {
				n, err := img.ReadAt(p, off)
				if (err != nil) != tc.fail {
					t.Fatalf("zstd %v: ReadAt = %d, %v", tc.zstd, n, err)
				}
				if err == nil && !bytes.Equal(p, make([]byte, len(p))) {
					t.Fatal("content is not zeros")
				}
			}
		})
		if used := heap() - before; used > 8<<20 {
			t.Errorf("zstd %v: %d bytes in use", tc.zstd, used)
		}
	}
}

// TestTablesThatOverlap has tables that are data, and tables of themselves.
func TestTablesThatOverlap(t *testing.T) {
	for _, table := range []uint64{0, 1 << 16, 2 << 16, 3 << 16} {
		b := builder{size: 1 << 30}.build()
		b.set(0, table|flagCopied)
		b.put64(b.l1, table|flagCopied)
		b.put64(b.l1+8, uint64(b.l1)|flagCopied)
		disktest.Survive(t, qcow2.Format, b.image, disk.OpenOptions{})
	}
}

func TestNULInANameIsNotHidden(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	name := "base.raw\x00/etc/passwd\x00\x00"
	b.put64(atBackingOffset, 200)
	b.put32(atBackingSize, uint32(len(name)))
	copy(b.at(200, int64(len(name))), name)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := img.Info().Backing().Name(), "base.raw\x00/etc/passwd"; got != want {
		t.Errorf("backing file %q; want %q", got, want)
	}
}

// TestZstdOfMoreThanACluster: a stream that has more than its cluster is refused,
// and nothing of it shows in what is read besides, before or behind it.
func TestZstdOfMoreThanACluster(t *testing.T) {
	const cluster = 1 << 16
	for _, more := range []int{0, 1, 9, 16, 17, 4096} {
		b := builder{size: 1 << 20, zstd: true}.build()
		want := sample(3 * cluster)
		b.packed(2, zstded(want[:cluster]))
		b.packed(3, zstded(append(bytes.Clone(want[cluster:2*cluster]), make([]byte, more)...)))
		b.packed(4, zstded(want[2*cluster:]))
		img, err := b.open(disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p := bytes.Repeat([]byte{0xaa}, len(want)+100)
		_, err = img.ReadAt(p[:len(want)], 2*cluster)
		if (err != nil) != (more > 0) || (err == nil && !bytes.Equal(p[:len(want)], want)) {
			t.Errorf("with %d bytes more: %v", more, err)
		}
		for k := range int64(3) {
			_, err := img.ReadAt(p[k*cluster:][:cluster], (2+k)*cluster)
			if (err != nil) != (more > 0 && k == 1) || (err == nil && !bytes.Equal(p[k*cluster:][:cluster], want[k*cluster:][:cluster])) {
				t.Errorf("with %d bytes more, cluster %d: %v", more, k, err)
			}
		}
		if !bytes.Equal(p[len(want):], bytes.Repeat([]byte{0xaa}, 100)) {
			t.Errorf("with %d bytes more: what is behind is overwritten", more)
		}
	}
}
