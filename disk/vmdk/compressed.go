package vmdk

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"instar/disk"
	"instar/disk/internal/inflate"
)

const (
	// readAhead is how many bytes are read at once, at the most, for a run of
	// compressed grains: they are mostly stored one after the other.
	readAhead = 1 << 20

	// markerSize is the length of the marker before a compressed grain: the
	// sector that it begins at on the disk, and the length of what follows.
	markerSize = 12
)

// readCompressed fills p with content of compressed grains of one extent.
func (i *image) readCompressed(p []byte, off int64) error {
	x := i.find(off)
	d, _ := i.inflaters.Get().(*inflater)
	if d == nil {
		d = new(inflater)
	}
	defer i.inflaters.Put(d)
	d.extent, d.window = x, nil
	t := i.caches.of(x)
	for len(p) > 0 {
		in := off - x.start
		start := in / x.sparse.grain * x.sparse.grain
		entry, err := t.lookup(in / x.sparse.grain)
		if err != nil {
			return err
		}
		// The last grain may be stored without what lies beyond the disk.
		length := min(x.sparse.grain, x.size-start)
		n := min(length-(in-start), int64(len(p)))
		if n == length {
			err = d.inflate(p[:n], entry.Offset, len(p))
		} else {
			d.grain = slices.Grow(d.grain[:0], int(length))[:length]
			err = d.inflate(d.grain, entry.Offset, len(p))
			copy(p[:n], d.grain[in-start:])
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// An inflater reads the compressed grains of an extent.
type inflater struct {
	extent *extent
	grain  []byte // one that is not wanted as a whole
	stored []byte
	window []byte // what stored holds, from an offset of the file on
	offset int64
}

// inflate fills dst from the grain stored at an offset. ahead is how much more
// may be wanted.
func (d *inflater) inflate(dst []byte, at int64, ahead int) error {
	grain := int(d.extent.sparse.grain)
	p, err := d.view(at, markerSize+grain, ahead)
	if err != nil {
		return err
	}
	if !d.extent.sparse.markers {
		p = p[:min(len(p), grain)]
	} else if p, err = d.marked(p, at, maxStored(int64(grain))); err != nil {
		return err
	}
	if err := inflate.Zlib(dst, p); err != nil {
		return disk.Corruptf(formatName, "compressed grain at offset %#x: %v", at, err)
	}
	return nil
}

// marked returns what follows the marker that p begins with: as many bytes as
// it says, most at the most.
func (d *inflater) marked(p []byte, at, most int64) ([]byte, error) {
	if len(p) < markerSize {
		return nil, disk.Corruptf(formatName, "compressed grain at offset %#x lies behind the end of the file", at)
	}
	n := int64(binary.LittleEndian.Uint32(p[8:]))
	if n == 0 || n > most {
		return nil, errLength(at, n)
	}
	p, err := d.view(at, markerSize+int(n), 0)
	if err != nil {
		return nil, err
	}
	if len(p) < markerSize+int(n) {
		return nil, errCut(at)
	}
	return p[markerSize:][:n], nil
}

// maxStored returns how long the stream of a grain of that many bytes may be.
func maxStored(grain int64) int64 { return 2*grain - markerSize }

func errLength(at, n int64) error {
	return disk.Corruptf(formatName, "compressed grain at offset %#x has an invalid length of %d", at, n)
}

func errCut(at int64) error {
	return disk.Corruptf(formatName, "compressed grain at offset %#x is cut short", at)
}

// view returns n bytes of the file at an offset, and those that happen to be
// known behind them; fewer where the file ends. It reads ahead bytes if it has
// to read.
func (d *inflater) view(at int64, n, ahead int) ([]byte, error) {
	if in := at - d.offset; in >= 0 && in+int64(n) <= int64(len(d.window)) {
		return d.window[in:], nil
	}
	n = max(n, min(ahead, readAhead))
	d.stored = slices.Grow(d.stored[:0], n)[:n]
	got, err := d.extent.file.ReadAt(d.stored, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	d.window, d.offset = d.stored[:got], at
	return d.window, nil
}
