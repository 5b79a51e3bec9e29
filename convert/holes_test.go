package convert_test

import (
	"slices"
	"strings"
	"testing"

	"instar/convert"
	"instar/disk"
)

// A log is a writer that stores content where it is, and says what it was asked
// for: 's' for a unit that is stored, '0' for one that is left out.
type log struct{ units []byte }

const logUnit = 4096

func (l *log) Unit() int64 { return logUnit }

func (l *log) note(off, n int64, c byte) {
	for k := off / logUnit; k < (off+n+logUnit-1)/logUnit; k++ {
		l.units[k] = c
	}
}

func (l *log) Place(off, n int64) (at, placed int64, err error) {
	l.note(off, n, 's')
	return off, n, nil
}

func (l *log) Zero(off, n int64) error {
	l.note(off, n, '0')
	return nil
}

func (l *log) Finish() error { return nil }

func TestHolesAreLeftOutHoweverShort(t *testing.T) {
	const unit = logUnit
	for _, test := range []struct {
		name    string
		parts   []part
		overlay bool
		want    string
	}{
		{"a hole of a unit", []part{{disk.Data, unit / 2, 1}, {disk.Zero, unit/2 + unit, 0}, {disk.Data, unit, 1}}, false, "s0s"},
		{"holes that make one up", []part{{disk.Data, unit + 512, 1}, {disk.Zero, unit - 512, 0}, {disk.Unallocated, 512, 0}, {disk.Zero, unit - 512, 0}, {disk.Data, 512, 1}}, false, "ss0s"},
		{"less than a unit", []part{{disk.Data, 512, 1}, {disk.Zero, 2*unit - 1024, 0}, {disk.Data, 512, 1}}, false, "ss"},
		{"at the end", []part{{disk.Data, 512, 1}, {disk.Zero, unit, 0}}, false, "s0"},
		{"zeros that are stored", []part{{disk.Data, 512, 1}, {disk.Data, unit * 2, 0}, {disk.Data, 512, 1}}, false, "sss"},
		{"zeros that are stored, from a hole to where a block ends", []part{{disk.Data, 512, 1}, {disk.Zero, 1<<20 - 2*unit - 512, 0}, {disk.Data, 2 * unit, 0}, {disk.Data, unit, 1}}, false, "s" + strings.Repeat("0", 1<<20/unit-1) + "s"},
		{"what is below", []part{{disk.Data, 512, 1}, {disk.Unallocated, 3 * unit, 0}, {disk.Data, 512, 1}}, true, "s--s"},
	} {
		f := &fake{parts: test.parts}
		l := &log{units: slices.Repeat([]byte{'-'}, int((f.Size()+unit-1)/unit))}
		_, err := convert.Execute(t.Context(), convert.Execution{
			Source: f, Target: &memory{p: make([]byte, f.Size())}, SkipZeros: true, SparseSize: 1 << 20, Overlay: test.overlay,
			Create: func(disk.Target, int64, disk.WriterOptions) (disk.Writer, error) { return l, nil },
		})
		if err != nil || string(l.units) != test.want {
			t.Errorf("%s: %s, %v; want %s", test.name, l.units, err, test.want)
		}
	}
}
