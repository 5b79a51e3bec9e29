package raw

import (
	"fmt"

	"instar/disk"
)

// unit is what the writer allocates in: a page, and the block of most file
// systems.
const unit = 4096

// A writer has nothing to lay out: content goes where it is.
type writer struct {
	target disk.Target
	zero   bool // zeros have to be arranged for
}

func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf("raw", "Compression not supported for this file format")
	}
	for key := range o.Values {
		return nil, fmt.Errorf("Invalid parameter '%s'", key) //nolint:staticcheck // qemu-img's text
	}
	if !o.Existing {
		if err := t.Truncate(size); err != nil {
			return nil, err
		}
	}
	return &writer{target: t, zero: o.Dense || !o.Zeroed}, nil
}

func (w *writer) Unit() int64 { return unit }

func (w *writer) Place(off, n int64) (at, placed int64, err error) { return off, n, nil }

func (w *writer) Zero(off, n int64) error {
	if !w.zero {
		return nil
	}
	return w.target.Zero(off, n)
}

func (w *writer) Finish() error { return nil }
