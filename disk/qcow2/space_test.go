package qcow2

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// checkSpace says what is wrong with a space of which the clusters in taken were
// handed out.
func checkSpace(s *space, taken map[int64]bool) error {
	free := map[int64]bool{}
	last := int64(-1)
	for _, f := range s.free {
		if f.start >= f.end || f.start <= last || f.end >= s.end {
			return fmt.Errorf("free %v behind %d, end %d", s.free, last, s.end)
		}
		last = f.end
		for c := f.start; c < f.end; c++ {
			free[c] = true
		}
	}
	used := map[int64]string{0: "header"}
	claim := func(c int64, what string) error {
		if used[c] != "" {
			return fmt.Errorf("cluster %d is %s and %s", c, used[c], what)
		}
		if free[c] || c >= s.end {
			return fmt.Errorf("cluster %d is %s and free", c, what)
		}
		used[c] = what
		return nil
	}
	for c := range taken {
		if err := claim(c, "content"); err != nil {
			return err
		}
	}
	for c := s.tableAt; c < s.tableAt+s.tableSize; c++ {
		if err := claim(c, "refcount table"); err != nil {
			return err
		}
	}
	for i, c := range s.blocks {
		if c == 0 {
			continue
		}
		if err := claim(c, fmt.Sprintf("refcount block %d", i)); err != nil {
			return err
		}
	}
	for c := range s.end {
		switch i := c / s.refsPerBlock; {
		case free[c] != (used[c] == ""):
			return fmt.Errorf("cluster %d: free %v, used as %q", c, free[c], used[c])
		case !free[c] && (i >= int64(len(s.blocks)) || s.blocks[i] == 0):
			return fmt.Errorf("cluster %d has no refcount block", c)
		}
	}
	if int64(len(s.blocks)) > s.tableEntries {
		return fmt.Errorf("%d refcount blocks in a table of %d", len(s.blocks), s.tableEntries)
	}
	return nil
}

// TestSpace: whatever is asked for, no cluster has two uses, each one in use has a
// refcount block, and none is lost.
func TestSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSpace(9, uint32(rapid.IntRange(3, 6).Draw(t, "refcount order")))
		s.retire = func(int64, []int64) error { return nil }
		taken := map[int64]bool{}
		take := func(at, n int64) {
			for c := at; c < at+n; c++ {
				if taken[c] {
					t.Fatalf("cluster %d is handed out twice", c)
				}
				taken[c] = true
			}
		}
		hint := int64(3)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := int64(rapid.SampledFrom([]int{1, 1, 2, 63, 64, 65, 300, 4096}).Draw(t, "clusters"))
			at, got := hint, int64(0)
			var err error
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				s.next = 0
				continue
			case 1, 2, 3:
				got, err = s.allocAt(at, n)
			case 4:
				at, err = s.moveTable(s.end, n, rapid.Bool().Draw(t, "exact"), 0, 0)
			default:
				at, err = s.alloc(n)
				got = n
			}
			if err != nil {
				t.Fatal(err)
			}
			take(at, got)
			hint = at + got
		}
		if err := checkSpace(s, taken); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzCreateOptions: whatever options are given, they are refused or in range.
func FuzzCreateOptions(f *testing.F) {
	f.Add("cluster_size", "65536", "refcount_bits", "64")
	f.Add("extended_l2", "on", "compat", "0.10")
	f.Add("encrypt.format", "luks", "encrypt.iter-time", "18446744073709551615")
	f.Add("encrypt.cipher-alg", "des", "encrypt.format", "luks")
	f.Fuzz(func(t *testing.T, name, value, other, otherValue string) {
		o, err := parseCreateOptions(map[string]string{name: value, other: otherValue})
		if err != nil {
			return
		}
		if o.clusterBits < minClusterBits || o.clusterBits > maxClusterBits || o.refcountOrder > 6 || (o.version != 2 && o.version != 3) {
			t.Errorf("%+v", o)
		}
	})
}
