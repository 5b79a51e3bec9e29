package sectormap

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Bytes that are all or nothing make long runs.
		b := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 0xff}))
		p := rapid.SliceOfN(b, 1, 40).Draw(t, "bitmap")
		end := rapid.Int64Range(1, int64(len(p))*8).Draw(t, "end")
		index := rapid.Int64Range(0, end-1).Draw(t, "index")
		order := Order(rapid.Bool().Draw(t, "highest first"))
		bit := func(i int64) bool {
			if order == HighestFirst {
				return p[i/8]&(0x80>>(i%8)) != 0
			}
			return p[i/8]&(1<<(i%8)) != 0
		}
		want := int64(1)
		for index+want < end && bit(index+want) == bit(index) {
			want++
		}
		if set, n := Run(p, order, index, end); set != bit(index) || n != want {
			t.Fatalf("%v, %d; want %v, %d", set, n, bit(index), want)
		}
	})
}
