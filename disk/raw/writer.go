package raw

import (
	"errors"
	"fmt"

	"instar/disk"
	"instar/disk/internal/lay"
)

// unit is what the writer allocates in: a page, and the block of most file
// systems.
const unit = 4096

// A writer has nothing to lay out: content goes where it is.
type writer struct {
	target    disk.Target
	allocate  bool // zeros take space
	allocated bool // all of it is, and reads as zeros
	zeroed    bool // what is not written reads as zeros
	blank     bool // nothing comes, and what is there may stay
}

func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf("raw", "Compression not supported for this file format")
	}
	mode, err := preallocation(o.Values)
	if err != nil {
		return nil, err
	}
	w := &writer{target: t, allocate: mode != "off" || o.Dense, zeroed: o.Zeroed}
	if o.Existing {
		return w, w.begin(size, mode, o.Blank)
	}
	if err := t.Truncate(size); err != nil {
		return nil, err
	}
	if mode != "off" && size > 0 {
		switch err := lay.Preallocate(t, mode, 0, size); {
		case err == nil:
			w.allocated = true
		case !errors.Is(err, errors.ErrUnsupported):
			return nil, err
		}
	}
	return w, nil
}

// begin has a device hold no image, if nothing is to be copied to it: what else is
// there stays.
func (w *writer) begin(size int64, mode string, blank bool) error {
	if mode != "off" {
		return fmt.Errorf("Unsupported preallocation mode '%s'", mode)
	}
	w.blank = blank
	if !blank || size == 0 {
		return nil
	}
	return lay.Zeros(w.target, 0, min(size, disk.SectorSize))
}

// preallocation reads the options of a new image. falloc and full come to the
// same: what reads as zeros is allocated by the file system, or else written.
func preallocation(values map[string]string) (string, error) {
	v, err := lay.Options("raw", values)
	if err != nil {
		return "", err
	}
	if mode, given := v.Get("preallocation"); given {
		return mode, nil
	}
	return "off", nil
}

// Flat implements [disk.Flat].
func (w *writer) Flat() {}

// Hollow implements [disk.Hollow].
func (w *writer) Hollow() bool { return w.allocated || w.zeroed && !w.allocate }

func (w *writer) Unit() int64 { return unit }

func (w *writer) Place(off, n int64) (at, placed int64, err error) { return off, n, nil }

// Zero has zeros take no space, where that can be given up, unless all of it is
// to be allocated.
func (w *writer) Zero(off, n int64) error {
	switch p, punches := w.target.(disk.Puncher); {
	case w.allocated, w.blank:
		return nil
	case w.allocate:
	case w.zeroed:
		return nil
	case punches:
		if err := p.Punch(off, n); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return w.target.Zero(off, n)
}

func (w *writer) Finish() error { return nil }
