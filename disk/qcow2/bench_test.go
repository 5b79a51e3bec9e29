package qcow2_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"instar/disk"
)

// BenchmarkExtents lists the extents of a disk of 64 GiB; "one in 8 TiB" and
// "one in 1 PiB" have a single cluster at their end.
func BenchmarkExtents(b *testing.B) {
	const clusters = 1 << 20
	for _, percent := range []int{0, 50, 100} {
		image := builder{size: clusters << 16}.build()
		r := rand.New(rand.NewPCG(1, 2))
		for k := range int64(clusters) {
			if r.IntN(100) < percent {
				image.set(k, uint64(k+16)<<16|flagCopied)
			}
		}
		b.Run(fmt.Sprintf("%d%%", percent), func(b *testing.B) { listExtents(b, image) })
	}
	for name, size := range map[string]uint64{"one in 8 TiB": 8 << 40, "one in 1 PiB": 1 << 50} {
		image := builder{size: size}.build()
		image.data(int64(size>>16)-1, []byte{1})
		b.Run(name, func(b *testing.B) { listExtents(b, image) })
	}
}

func listExtents(b *testing.B, image *builder) {
	b.ReportAllocs()
	for b.Loop() {
		img, err := image.open(disk.OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for off := int64(0); off < img.Size(); n++ {
			e, err := img.Extent(off, img.Size())
			if err != nil {
				b.Fatal(err)
			}
			off = e.End()
		}
		b.ReportMetric(float64(n), "extents/op")
	}
}

// BenchmarkReadCompressed reads compressed clusters of program-like content.
func BenchmarkReadCompressed(b *testing.B) {
	for _, bits := range []uint{12, 16, 21} {
		for _, method := range []string{"zlib", "zstd"} {
			b.Run(fmt.Sprintf("%s/%dKiB", method, 1<<bits>>10), func(b *testing.B) {
				const size = 8 << 20
				image := builder{size: size, bits: bits, zstd: method == "zstd"}.build()
				content := sample(size)
				for k := int64(0); k<<bits < size; k++ {
					p := content[k<<bits:][:1<<bits]
					if method == "zstd" {
						image.packed(k, zstded(p))
					} else {
						image.packed(k, deflated(p))
					}
				}
				img, err := image.open(disk.OpenOptions{})
				if err != nil {
					b.Fatal(err)
				}
				p := make([]byte, 2<<20)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					for off := int64(0); off < size; off += int64(len(p)) {
						if _, err := img.ReadAt(p, off); err != nil && err != io.EOF {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
