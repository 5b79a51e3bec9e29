package vmdk

import "instar/disk"

// flatUnit is what flat extents are written in: a page, and the block of most
// file systems.
const flatUnit = 4096

// A flatWriter writes flat extents: content goes where it is.
type flatWriter struct {
	*newImage
	span    int64 // of the disk, in each file
	content disk.Target
}

func newFlatWriter(i *newImage, span int64, files []disk.Target) (*flatWriter, error) {
	for k, f := range files {
		if err := f.Truncate(min(span, i.size-int64(k)*span)); err != nil {
			return nil, err
		}
	}
	return &flatWriter{newImage: i, span: span, content: disk.Join(span, files)}, nil
}

func (w *flatWriter) Unit() int64 { return flatUnit }

func (w *flatWriter) Content() disk.Target { return w.content }

func (w *flatWriter) Place(off, n int64) (at, placed int64, err error) {
	w.stored = true
	return off, min(n, w.span-off%w.span), nil
}

// Zero leaves holes in the files, unless all of the space is to be allocated.
func (w *flatWriter) Zero(off, n int64) error {
	for end := off + n; w.dense && off < end; {
		part := min(end-off, w.span-off%w.span)
		if err := w.content.Zero(off, part); err != nil {
			return err
		}
		w.stored = true
		off += part
	}
	return nil
}

func (w *flatWriter) Finish() error { return w.writeDescriptor() }
