package lzfse

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"instar/disk/internal/lzfse/lzfsetest"
)

// content returns n bytes of which some come again, near and far.
func content(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var out []byte
	for len(out) < n {
		switch r.IntN(6) {
		case 0:
			out = append(out, bytes.Repeat([]byte{byte(r.IntN(4))}, r.IntN(400))...)
		case 1:
			for range r.IntN(40) {
				out = append(out, byte(r.IntN(256)))
			}
		case 2:
			out = append(out, out[r.IntN(len(out)+1):]...)
		default:
			out = fmt.Appendf(out, "entry %d of %d, ", r.IntN(100), len(out))
		}
		out = out[:min(len(out), n)]
	}
	return out
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 4, 17, 100, 700, 5000, 10000} {
		want := content(n)
		for name, block := range map[string]func([]byte) []byte{
			"stored": lzfsetest.Stored, "LZVN": lzfsetest.LZVN, "V1": lzfsetest.V1, "V2": lzfsetest.V2,
		} {
			got, err := Decode(nil, append(block(want), lzfsetest.End...), n)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of %d bytes: %v; content equal: %t", name, n, err, bytes.Equal(got, want))
			}
		}
	}
}

// LZVN has distances beyond those that 10000 bytes can show.
func TestDecodeFar(t *testing.T) {
	t.Parallel()
	want := content(200000)
	want = append(want, want[len(want)-60000:len(want)-50000]...)
	got, err := Decode(nil, append(lzfsetest.LZVN(want), lzfsetest.End...), len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v; content equal: %t", err, bytes.Equal(got, want))
	}
}

// Blocks follow each other, and what is decoded goes behind what is there.
func TestDecodeBlocks(t *testing.T) {
	t.Parallel()
	c := content(20000)
	stream := slices.Concat(lzfsetest.V2(c[:7000]), lzfsetest.LZVN(c[7000:9000]), lzfsetest.Stored(c[9000:9001]),
		lzfsetest.V1(c[9001:19000]), lzfsetest.V2(c[19000:]), []byte(lzfsetest.End))
	got, err := Decode([]byte("before"), stream, len(c))
	if err != nil || string(got) != "before"+string(c) {
		t.Fatalf("%v; content equal: %t", err, string(got) == "before"+string(c))
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	c := content(3000)
	whole := append(lzfsetest.V2(c), lzfsetest.End...)
	for name, tc := range map[string]struct {
		stream []byte
		size   int
		want   error
	}{
		"nothing":                {nil, 0, errShort},
		"no end":                 {lzfsetest.V2(c), len(c), errShort},
		"unknown block":          {[]byte("bvxx"), 0, errMagic},
		"too long":               {whole, len(c) - 1, errLength},
		"too short":              {whole, len(c) + 1, errLess},
		"payload cut off":        {whole[:len(whole)-5], len(c), errShort},
		"stored cut off":         {lzfsetest.Stored(c)[:100], len(c), errShort},
		"header cut off":         {[]byte("bvx1"), 0, errShort},
		"match before the start": {[]byte("bvxn\x03\x00\x00\x00\x0a\x00\x00\x00\x00\x01\x06\x00\x00\x00\x00\x00\x00\x00bvx$"), 3, errDistance},
		"match without distance": {[]byte("bvxn\x03\x00\x00\x00\x09\x00\x00\x00\xf3\x06\x00\x00\x00\x00\x00\x00\x00bvx$"), 3, errDistance},
		"undefined code":         {[]byte("bvxn\x03\x00\x00\x00\x01\x00\x00\x00\x70bvx$"), 3, errOpcode},
		"code cut off":           {[]byte("bvxn\x03\x00\x00\x00\x01\x00\x00\x00\xe0bvx$"), 3, errShort},
	} {
		if _, err := Decode(nil, tc.stream, tc.size); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v; want %v", name, err, tc.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := content(1500)
	for _, block := range []func([]byte) []byte{lzfsetest.Stored, lzfsetest.LZVN, lzfsetest.V1, lzfsetest.V2} {
		f.Add(append(block(c), lzfsetest.End...))
		f.Add(append(block(c[:40]), lzfsetest.End...))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const size = 1500
		out, err := Decode(nil, stream, size)
		if err == nil && len(out) != size {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
