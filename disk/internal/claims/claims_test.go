package claims

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A claim is what a test has an image use, in sectors.
type claim struct {
	kind     Kind
	first, n int64
}

func listOf(claims []claim) func(l *List) error {
	return func(l *List) error {
		for _, c := range claims {
			if err := l.Claim(c.kind, c.first<<sectorBits, c.n<<sectorBits); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestPassesSeeAll has each sector be judged as if all claims were counted there,
// however little room there is for them.
func TestPassesSeeAll(t *testing.T) {
	const sectors = 600
	rapid.Check(t, func(t *rapid.T) {
		claims := rapid.SliceOf(rapid.Custom(func(t *rapid.T) claim {
			first := rapid.Int64Range(0, sectors-1).Draw(t, "first")
			return claim{
				kind:  Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
				first: first,
				n:     rapid.Int64Range(0, min(sectors-first, rapid.SampledFrom([]int64{1, 8, sectors}).Draw(t, "scale"))).Draw(t, "n"),
			}
		})).Draw(t, "claims")
		var want, got [sectors][Kinds]int64
		for _, c := range claims {
			for s := c.first; s < c.first+c.n; s++ {
				want[s][c.kind]++
			}
		}
		l := &List{most: rapid.SampledFrom([]int{16, 20, 64, 1 << 20}).Draw(t, "most"), pieces: math.MaxInt, judge: func(p *Part) error {
			for s := p.Start >> sectorBits; s < p.End>>sectorBits; s++ {
				for k, n := range p.Uses {
					got[s][k] = max(got[s][k], n) // it may be judged again
				}
			}
			return nil
		}}
		if err := check(l, listOf(claims)); err != nil {
			t.Fatal(err)
		}
		if l.more {
			t.Skip("more passes than there may be")
		}
		if got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestOnce has things lie on one another.
func TestOnce(t *testing.T) {
	names := Names{"the header", "the table", "a block"}
	for name, tc := range map[string]struct {
		claims []claim
		want   string
	}{
		"apart":           {[]claim{{0, 0, 1}, {1, 1, 4}, {2, 5, 2}, {2, 9, 2}, {2, 7, 2}}, ""},
		"two blocks":      {[]claim{{2, 10, 4}, {2, 20, 4}, {2, 13, 4}}, "f: a block and another overlap at offset 0x1a00"},
		"the same twice":  {[]claim{{2, 10, 4}, {2, 10, 4}}, "f: a block and another overlap at offset 0x1400"},
		"block on table":  {[]claim{{1, 1, 4}, {2, 4, 2}}, "f: the table and a block overlap at offset 0x800"},
		"within":          {[]claim{{2, 4, 100}, {1, 50, 1}}, "f: the table and a block overlap at offset 0x6400"},
		"loose":           {[]claim{{0, 0, 4}, {0, 2, 4}}, ""},
		"table on header": {[]claim{{0, 0, 4}, {1, 3, 4}}, "f: the header and the table overlap at offset 0x600"},
		"nothing":         {[]claim{{2, 4, 0}, {2, 4, -1}, {2, -8, 10}, {2, 4, 1}}, ""},
	} {
		got := ""
		if err := Check(listOf(tc.claims), names.Once("f", 1)); err != nil {
			got = err.Error()
		}
		if want := tc.want; got != want && "f: "+got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestEnds has claims reach as far as files can, and further.
func TestEnds(t *testing.T) {
	names := Names{"a block"}
	for _, n := range []int64{1, 512, math.MaxInt64} {
		err := Check(func(l *List) error {
			return errors.Join(l.Claim(0, math.MaxInt64-1024, n), l.Claim(0, 0, 512), l.Claim(0, math.MaxInt64-1024, 1))
		}, names.Once("f", 0))
		if err == nil {
			t.Errorf("%d bytes: nothing found", n)
		}
	}
}

// TestErrorEndsIt has an error of the image itself come back.
func TestErrorEndsIt(t *testing.T) {
	want := errors.New("cannot be read")
	if err := Check(func(*List) error { return want }, Names{"a block"}.Once("f", 0)); !errors.Is(err, want) {
		t.Errorf("%v", err)
	}
}

// TestManyAliases has one block be used by a great many, which is found long before
// they are all listed, and pieces in no order, more than are looked at.
func TestManyAliases(t *testing.T) {
	listed := 0
	err := Check(func(l *List) error {
		for k := range int64(1) << 40 {
			listed++
			if err := l.Claim(0, k%2<<20, 4096); err != nil {
				return err
			}
		}
		return nil
	}, Names{"a block"}.Once("f", 0))
	if err == nil || listed > maxEvents {
		t.Errorf("%v after %d", err, listed)
	}

	l := &List{judge: Names{"a block"}.Once("f", 0), most: 256, pieces: 1000}
	if err := check(l, func(l *List) error {
		for k := range int64(1) << 20 {
			if err := l.Claim(0, k*7919%100_000_007*4096, 512); err != nil {
				return fmt.Errorf("list: %w", err)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func BenchmarkPieces(b *testing.B) {
	for range b.N {
		if err := Check(func(l *List) error {
			for k := range int64(4) << 20 {
				if err := l.Claim(0, (k*7919+1)%(8<<20)<<16, 1<<16); err != nil {
					return err
				}
			}
			return nil
		}, Names{"a block"}.Once("f", 0)); err != nil {
			b.Fatal(err)
		}
	}
}
