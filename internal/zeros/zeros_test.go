package zeros

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestAll(t *testing.T) {
	for n := range 200 {
		p := make([]byte, n)
		if !All(p) {
			t.Errorf("%d zeros are none", n)
		}
		for i := range p {
			p[i] = 0x80
			if All(p) {
				t.Errorf("%d bytes with one at %d are all zeros", n, i)
			}
			p[i] = 0
		}
	}
}

func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block := rapid.IntRange(1, 100).Draw(t, "block")
		var p []byte
		for _, zero := range rapid.SliceOfN(rapid.Bool(), 0, 12).Draw(t, "zero") {
			b := make([]byte, block)
			if !zero {
				b[rapid.IntRange(0, block-1).Draw(t, "at")] = 1
			}
			p = append(p, b...)
		}
		p = p[:len(p)-rapid.IntRange(0, min(len(p), block)).Draw(t, "less")]
		rest := bytes.Clone(p)
		last := -1
		err := Blocks(p, block, func(start, end int) error {
			if start <= last || end <= start || start%block != 0 || (end%block != 0 && end != len(p)) {
				t.Fatalf("[%d, %d) after one that ended at %d", start, end, last)
			}
			for at := start; at < end; at += block {
				if All(p[at:min(at+block, end)]) {
					t.Fatalf("the block at %d is in [%d, %d)", at, start, end)
				}
			}
			clear(rest[start:end])
			last = end
			return nil
		})
		if err != nil || !All(rest) {
			t.Fatalf("%v, and something is left out: %v", err, rest)
		}
	})
	stop := errors.New("stop")
	calls := 0
	if err := Blocks([]byte{1, 0, 1}, 1, func(int, int) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
