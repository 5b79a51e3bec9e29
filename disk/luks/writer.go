package luks

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"instar/disk"
	"instar/disk/internal/luks"
)

// A writer has nothing to lay out: behind the header, content goes where it is.
type writer struct {
	*luks.Volume
	target disk.Target
	header []byte
	// existing says that what is not written is not zeros.
	existing bool
	blank    bool // nothing is copied into it
	allocate bool // it takes all of its space all the same
}

// create begins a container of version 1.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
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
	preallocation := o.Values["preallocation"]
	return &writer{
		Volume: volume, target: t, header: header, existing: o.Existing,
		blank: o.Blank, allocate: preallocation == "falloc" || preallocation == "full",
	}, nil
}

func (w *writer) Unit() int64 { return 4096 }

func (w *writer) Place(off, n int64) (at, placed int64, err error) {
	return int64(len(w.header)) + off, n, nil
}

// Zero has zeros be written: what is not would be decrypted as well. Where
// nothing is, that does no harm.
func (w *writer) Zero(off, n int64) error {
	switch {
	case !w.blank:
		return errors.ErrUnsupported
	case w.allocate:
		return w.target.Zero(int64(len(w.header))+off, n)
	}
	return nil
}

// Encrypt numbers sectors as on the disk.
func (w *writer) Encrypt(p []byte, off, _ int64) { w.Volume.Encrypt(p, off) }

// Finish writes the header, the part that makes it one last.
func (w *writer) Finish() error {
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
