package qcow2

import (
	"instar/disk"
	"instar/disk/internal/metacache"
)

// Format is QEMU's copy-on-write format, versions 2 and 3.
var Format = disk.Format{Name: formatName, Probe: probe, Open: open}

// maxEntries bounds how many table entries one call of Extent looks at; the
// run then ends earlier than it could.
const maxEntries = 1 << 20

// An image is one layer: its active state, or one of its snapshots.
type image struct {
	*header
	info     disk.Info
	virtual  int64     // size in bytes
	file     disk.File // tables and compressed clusters
	data     disk.File // other clusters: file, or the external data file
	tables   *metacache.Cache
	clusters *clusterCache
	refused  error // why content cannot be read; the description can
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	h, err := readHeader(f)
	if err != nil {
		return nil, err
	}
	i := &image{
		header:   h,
		virtual:  int64(h.size) &^ (disk.SectorSize - 1), // QEMU leaves a partial sector out
		file:     f,
		data:     f,
		tables:   metacache.New(f),
		clusters: newClusterCache(h.clusterSize, h.compression),
		refused:  h.checkContent(),
	}
	snapshots, err := i.readSnapshots()
	if err != nil {
		return nil, err
	}
	bitmaps, err := i.readBitmaps()
	if err != nil {
		return nil, err
	}
	i.describe(snapshots, bitmaps)
	i.openDataFile(o.Files)
	if o.Snapshot != "" {
		err = i.selectSnapshot(o.Snapshot, snapshots)
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.virtual }

// Extent is [disk.Disk]'s. Runs extend over neighbouring clusters and tables.
func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	if i.refused != nil {
		return disk.Extent{}, i.refused
	}
	limit = min(limit, i.virtual-off)
	c := cursor{image: i}
	r, err := c.runAt(off)
	if err != nil {
		return disk.Extent{}, err
	}
	for range maxEntries {
		if r.length >= limit {
			break
		}
		next, err := c.runAt(off + r.length)
		if err != nil || !r.continuesIn(next) {
			break // the run ends before what cannot be trusted
		}
		r.length += next.length
	}
	e := disk.Extent{Start: off, Length: min(r.length, limit), Kind: r.kind}
	switch r.kind {
	case disk.Data:
		e.File, e.Offset = i.data, r.host
	case disk.Encoded:
		e.Layer = i
	}
	return e, nil
}

// ReadAt is [disk.Disk]'s.
func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.virtual, p, off, func(p []byte, off int64) error {
		for len(p) > 0 {
			e, err := i.Extent(off, int64(len(p)))
			if err != nil {
				return err
			}
			if e.Kind == disk.Encoded {
				err = i.readCompressed(p[:e.Length], off)
			} else {
				err = e.Read(p[:e.Length])
			}
			if err != nil {
				return err
			}
			p, off = p[e.Length:], off+e.Length
		}
		return nil
	})
}

// openDataFile puts the external data file that was opened for the image, if
// any, in place.
func (i *image) openDataFile(files []disk.File) {
	for k, r := range i.info.References {
		if r.Kind != disk.DataFile {
			continue
		}
		if k < len(files) && files[k] != nil {
			i.data = files[k]
		} else {
			i.data = missingFile{&disk.MissingReferenceError{Reference: r}}
		}
	}
}

// A missingFile stands for a file that nobody opened.
type missingFile struct{ err error }

func (f missingFile) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func (f missingFile) Size() (int64, error) { return 0, f.err }
