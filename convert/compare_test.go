package convert_test

import (
	"errors"
	"testing"

	"instar/convert"
	"instar/disk"
)

func TestCompare(t *testing.T) {
	const mib = 1 << 20
	data, zero, none, encoded := disk.Data, disk.Zero, disk.Unallocated, disk.Encoded
	for _, test := range []struct {
		name   string
		a, b   []part
		strict bool
		want   convert.Difference
	}{
		{"nothing", nil, nil, false, convert.Difference{Offset: -1}},
		{"equal", []part{{data, 5 * mib, 1}}, []part{{data, 5 * mib, 1}}, true, convert.Difference{Offset: -1}},
		{"stored in another way", []part{{data, 5 * mib, 1}}, []part{{data, 512, 1}, {encoded, 5*mib - 512, 1}}, false, convert.Difference{Offset: -1}},
		{"strict", []part{{data, 5 * mib, 1}}, []part{{data, 512, 1}, {encoded, 5*mib - 512, 1}}, true, convert.Difference{Offset: 512, Status: true}},
		{"zeros", []part{{data, mib, 0}}, []part{{none, mib, 0}}, false, convert.Difference{Offset: -1}},
		{"zeros, strictly", []part{{zero, mib, 0}}, []part{{none, mib, 0}}, true, convert.Difference{Offset: 0, Status: true}},
		{"the sector", []part{{data, 4000, 1}, {data, 5 * mib, 2}}, []part{{data, 5 * mib, 1}, {data, 4000, 2}}, false, convert.Difference{Offset: 3584}},
		{"the first", []part{{data, 4 * mib, 1}, {data, 4 * mib, 2}}, []part{{data, 3 * mib, 1}, {data, 5 * mib, 3}}, false, convert.Difference{Offset: 3 * mib}},
		{"longer by zeros", []part{{data, mib, 1}}, []part{{data, mib, 1}, {data, 4 * mib, 0}}, false, convert.Difference{Offset: -1}},
		{"longer by more", []part{{data, mib, 1}, {zero, mib, 0}, {data, mib, 2}}, []part{{data, mib, 1}}, false, convert.Difference{Offset: 2 * mib}},
		{"content before status", []part{{data, 4 * mib, 1}, {zero, mib, 0}}, []part{{data, 3 * mib, 1}, {data, mib, 2}, {none, mib, 0}}, true, convert.Difference{Offset: 3 * mib}},
		{"a hole as large as can be", []part{{zero, 1 << 60, 0}}, []part{{none, 1 << 60, 0}}, false, convert.Difference{Offset: -1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			last, size := int64(0), int64(0)
			got, err := convert.Compare(t.Context(), convert.Comparison{
				A: &fake{parts: test.a}, B: &fake{parts: test.b}, Strict: test.strict,
				Progress: func(done, total int64) { last, size = done, total },
			})
			if err != nil || got != test.want {
				t.Errorf("%+v, %v; want %+v", got, err, test.want)
			}
			if got.Offset < 0 && last != size {
				t.Errorf("ended at %d of %d", last, size)
			}
		})
	}
}

func TestCompareFails(t *testing.T) {
	const mib = 1 << 20
	good := func() *fake { return &fake{parts: []part{{disk.Data, 8 * mib, 1}}} }
	broken := good()
	broken.broken = 5 * mib
	_, err := convert.Compare(t.Context(), convert.Comparison{A: good(), B: broken})
	var failed *convert.CompareError
	if !errors.As(err, &failed) || !failed.Second || failed.Status || failed.Offset != 4*mib || !errors.Is(err, errBroken) {
		t.Errorf("%+v", err)
	}
	// What differs before is what counts.
	other := &fake{parts: []part{{disk.Data, mib, 1}, {disk.Data, 7 * mib, 2}}}
	d, err := convert.Compare(t.Context(), convert.Comparison{A: other, B: broken})
	if err != nil || d.Offset != mib {
		t.Errorf("%+v, %v", d, err)
	}
}
