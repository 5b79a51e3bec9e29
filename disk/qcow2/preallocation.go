package qcow2

import (
	"errors"
	"fmt"

	"instar/disk"
	"instar/disk/internal/lay"
)

// A preallocation is the layout of an image all of whose clusters have a place
// before there is content. It is made as the content comes, which is the same,
// since nothing else takes clusters then.
type preallocation struct {
	current piece // laid out last
	request int64 // where the request ends that the current piece is of
	data    int64 // offset of a content that lies in a row; 0 is one that is laid out request by request
}

// requestLimit is the length in bytes of what QEMU preallocates at once.
const requestLimit = 1<<31 - 1

// preallocate begins to lay the content out, with preallocation=metadata; with
// falloc and full a row of clusters is allocated for it.
func (w *writer) preallocate() error {
	if w.preallocation == "off" {
		return nil
	}
	w.ahead = &preallocation{}
	if w.preallocation == "metadata" || w.dataFile != "" {
		return nil
	}
	if w.existing {
		return fmt.Errorf("Could not resize image: Failed to resize underlying file: Preallocation mode '%s' unsupported for this non-regular file", w.preallocation)
	}
	n := w.clusters(w.size)
	tables := (n + w.clusterSize/w.entrySize - 1) / (w.clusterSize / w.entrySize)
	at, err := w.moveTable(w.end, n+tables, true, 0, 0)
	if err != nil {
		return err
	}
	got, err := w.allocAt(at, n)
	if err != nil {
		return err
	}
	if got != n {
		return errors.New("preallocated clusters do not lie in a row")
	}
	w.ahead.data = at * w.clusterSize
	w.reach((at + n) * w.clusterSize)
	if !w.dense && n > 0 {
		return w.allocateZeros("Could not resize image: Failed to resize underlying file: ", w.target, w.ahead.data, n*w.clusterSize)
	}
	return nil
}

// allocateZeros has zeros stored, and puts what did not work before the error.
func (w *writer) allocateZeros(what string, t disk.Target, at, n int64) error {
	if err := lay.NotPreallocated(w.preallocation, zero(t, at, n)); err != nil {
		return fmt.Errorf("%s%w", what, err)
	}
	return nil
}

// placePreallocated returns the place that content has.
func (w *writer) placePreallocated(off, n int64) (at, placed int64, err error) {
	for placed < n {
		p, err := w.preallocated(off + placed)
		if err != nil {
			return 0, 0, err
		}
		in := off + placed - p.off
		part := piece{p.off + in, p.at + in, min(n-placed, p.n-in)}
		if placed > 0 && part.at != at+placed {
			break
		}
		if placed == 0 {
			at = part.at
		}
		w.mark(part)
		placed += part.n
	}
	return at, placed, nil
}

// preallocated returns the piece that has off, at which the layout has arrived
// or to which it is brought.
func (w *writer) preallocated(off int64) (piece, error) {
	a := w.ahead
	for a.current.off+a.current.n <= off {
		next := a.current.off + a.current.n
		p, err := w.preallocateAt(next)
		if err != nil {
			return piece{}, err
		}
		a.current = p
	}
	return a.current, nil
}

func (w *writer) preallocateAt(off int64) (piece, error) {
	a := w.ahead
	end := (w.size + w.unit - 1) / w.unit * w.unit
	if a.data != 0 {
		if err := w.load(off / w.span); err != nil {
			return piece{}, err
		}
		n := min(end-off, w.span-off%w.span)
		for o := off; o < off+n; o += w.clusterSize {
			w.setEntry(o, entryCopied|uint64(a.data+o))
		}
		return piece{off, a.data + off, n}, nil
	}
	follows := off < a.request && off > 0
	if !follows {
		a.request = off + min(end-off, requestLimit/w.clusterSize*w.clusterSize)
	}
	p, err := w.allocate(off, a.request-off, follows)
	if err != nil {
		return p, err
	}
	if follows && p.at != w.last.at+w.last.n { // QEMU has made a request of it
		a.request = off + min(end-off, requestLimit/w.clusterSize*w.clusterSize)
	}
	w.last = p
	if w.dataFile == "" {
		w.reach(p.at + p.n)
	}
	return p, nil
}

// finishPreallocation lays out what no content has come for.
func (w *writer) finishPreallocation() error {
	if w.ahead == nil || w.size == 0 {
		return nil
	}
	_, err := w.preallocated(w.size - 1)
	return err
}

// zero has zeros stored in the target, by the file system if it can.
func zero(t disk.Target, at, n int64) error {
	err := t.Zero(at, n)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, 1<<20)
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		if _, err := t.WriteAt(part, at); err != nil {
			return err
		}
		at, n = at+int64(len(part)), n-int64(len(part))
	}
	return nil
}
