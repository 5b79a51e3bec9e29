package qcow2_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"instar/disk"
)

// TestAnyWindowIsASliceOfTheContent lays disks out at random, cluster by
// cluster and in any order, and reads windows of them.
func TestAnyWindowIsASliceOfTheContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, want := randomImage(t)
		img, err := b.open(disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			start := rapid.IntRange(0, len(want)).Draw(t, "start")
			end := rapid.IntRange(start, len(want)).Draw(t, "end")
			got := bytes.Repeat([]byte{0xa5}, end-start)
			if n, err := img.ReadAt(got, int64(start)); n != len(got) {
				t.Fatalf("ReadAt = %d, %v", n, err)
			}
			if !bytes.Equal(got, want[start:end]) {
				t.Fatalf("content of [%d, %d) differs", start, end)
			}
			if start == len(want) {
				continue
			}
			e, err := img.Extent(int64(start), int64(max(end-start, 1)))
			if err != nil {
				t.Fatal(err)
			}
			got = bytes.Repeat([]byte{0xa5}, int(e.Length))
			if err := e.Read(got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want[e.Start:e.End()]) {
				t.Fatalf("%v extent [%d, %d) differs", e.Kind, e.Start, e.End())
			}
		}
	})
}

// randomImage makes an image, and its content.
func randomImage(t *rapid.T) (*builder, []byte) {
	conf := builder{
		bits:    rapid.UintRange(9, 14).Draw(t, "cluster bits"),
		version: rapid.IntRange(2, 3).Draw(t, "version"),
		zstd:    rapid.Bool().Draw(t, "zstd"),
		extend:  rapid.Bool().Draw(t, "extended L2"),
	}
	if conf.version == 2 {
		conf.zstd, conf.extend = false, false
	}
	if conf.extend {
		conf.bits = 14
	}
	clusters := rapid.Int64Range(1, 150).Draw(t, "clusters")
	size := clusters << conf.bits
	size -= 512 * rapid.Int64Range(0, 1<<conf.bits/512-1).Draw(t, "missing sectors")
	conf.size = uint64(size)
	b := conf.build()
	want := make([]byte, clusters<<conf.bits)
	for _, k := range rapid.Permutation(sequence(clusters)).Draw(t, "order") {
		fill := rapid.Byte().Draw(t, "fill")
		layCluster(t, b, k, fill, want[k<<conf.bits:][:1<<conf.bits])
	}
	return b, want[:size]
}

func sequence(n int64) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(i)
	}
	return list
}

// layCluster stores a cluster in one of the ways there are, and makes want
// what it should read as.
func layCluster(t *rapid.T, b *builder, cluster int64, fill byte, want []byte) {
	content := bytes.Repeat([]byte{fill}, len(want))
	content[len(content)/3] ^= 0x55
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	switch {
	case kind == 0: // not stored
	case kind == 1:
		copy(want, content)
		stream := deflated(content)
		if b.zstd {
			stream = zstded(content)
		}
		b.packed(cluster, stream)
	case b.extend:
		alloc := rapid.Uint32().Draw(t, "stored")
		zero := rapid.Uint32().Draw(t, "zero") &^ alloc
		b.data(cluster, content)
		b.put64(b.entry(cluster)+8, uint64(zero)<<32|uint64(alloc))
		part := len(want) / 32
		for k := range 32 {
			if alloc>>k&1 != 0 {
				copy(want[k*part:][:part], content[k*part:])
			}
		}
	case kind == 2 && b.version == 3:
		b.set(cluster, flagZero)
	case kind == 3 && b.version == 3: // a place, and zero
		b.set(cluster, uint64(b.add(content))|flagCopied|flagZero)
	default:
		copy(want, content)
		b.data(cluster, content)
	}
}
