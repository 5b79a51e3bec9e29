package luks

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"instar/disk"
	"instar/disk/internal/lay"
	"instar/disk/internal/luks"
)

// A writer has nothing to lay out: behind the header, content goes where it is.
type writer struct {
	*luks.Volume
	target  disk.Target
	payload int64  // where content begins, bytes
	header  []byte // nil has the one that is there stay
	// existing says that what is not written is not zeros.
	existing bool
	blank    bool // nothing is copied into it
	allocate bool // it is to take all of its space all the same
}

// create begins a container of version 1.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
	}
	if o.Old != nil {
		return refill(t, size, o)
	}
	known := append(luks.Known(), "size", "preallocation")
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("Invalid parameter '%s'", name)
		}
	}
	options, err := luks.ParseOptions(o.Values, "")
	if err != nil {
		return nil, err
	}
	header, volume, err := options.Create(o.Secret, o)
	if err != nil {
		return nil, err
	}
	if size > 1<<62 {
		return nil, errors.New("The requested file size is too large") //nolint:staticcheck // qemu-img's text
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
		if err := t.Truncate(int64(len(header)) + size); err != nil {
			return nil, err
		}
	}
	mode := o.Values["preallocation"]
	allocate := mode == "falloc" || mode == "full"
	if allocate && o.Existing {
		return nil, fmt.Errorf("Preallocation mode '%s' unsupported for this non-regular file", mode)
	}
	if allocate && size > 0 {
		switch err := lay.Preallocate(t, mode, int64(len(header)), size); {
		case err == nil:
			allocate = false
		case !errors.Is(err, errors.ErrUnsupported):
			return nil, err
		}
	}
	return &writer{
		Volume: volume, target: t, payload: int64(len(header)), header: header, existing: o.Existing,
		blank: o.Blank, allocate: allocate,
	}, nil
}

// refill writes content into a container that is there.
func refill(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	switch old, ok := o.Old.(*image); {
	case !ok || !o.Existing:
		return nil, disk.Unsupportedf(formatName, "a container that is there is only written in place")
	case old.volume == nil:
		return nil, old.info.Refused
	case size > old.Size() || size%old.sector != 0:
		return nil, disk.Unsupportedf(formatName, "%d bytes for a container of %d, in sectors of %d", size, old.Size(), old.sector)
	default:
		return &writer{Volume: old.volume, target: t, payload: old.payload}, nil
	}
}

func (w *writer) Unit() int64 { return 4096 }

func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	return w.payload + off, n, nil
}

// Zero has zeros be written: what is not would be decrypted as well. Where
// nothing is, that does no harm.
func (w *writer) Zero(off, n int64) error {
	switch {
	case !w.blank:
		return errors.ErrUnsupported
	case w.allocate:
		return w.target.Zero(w.payload+off, n)
	}
	return nil
}

// Encrypt numbers sectors as on the disk.
func (w *writer) Encrypt(p []byte, off, _ int64) { w.Volume.Encrypt(p, off) }

// Finish writes the header, the part that makes it one last.
func (w *writer) Finish() error {
	if w.header == nil {
		return nil
	}
	const first = 4096 // all but the keyslots' areas
	end := len(w.header)
	if !w.existing { // the areas of keyslots that are not in use stay holes
		end = len(bytes.TrimRight(w.header, "\x00"))
	}
	if _, err := w.target.WriteAt(w.header[first:max(end, first)], first); err != nil {
		return err
	}
	_, err := w.target.WriteAt(w.header[:first], 0)
	return err
}
