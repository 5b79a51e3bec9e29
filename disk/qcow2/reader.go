package qcow2

import (
	"instar/disk"
	"instar/disk/internal/metacache"
)

// Format is QEMU's copy-on-write format, versions 2 and 3.
var Format = disk.Format{Name: formatName, Probe: probe, Open: open, Create: create}

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
	cipher   *cipher // nil when clusters are not encrypted, or cannot be decrypted
	noCipher error   // why no passphrase would do
	active   state   // which is not what a snapshot shows
	states   []state // of the snapshots
	shelved  bool    // it is one of them: the tables of the file are checked with the active state
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
	}
	snapshots, err := i.readSnapshots()
	if err != nil {
		return nil, err
	}
	bitmaps, err := i.readBitmaps()
	if err != nil {
		return nil, err
	}
	var encryption []disk.Detail
	if i.cipher, encryption, err = i.decrypt(o.Passphrase); err != nil {
		return nil, err
	}
	i.describe(snapshots, bitmaps, encryption)
	for _, s := range snapshots {
		i.states = append(i.states, s.state)
	}
	i.active = state{h.l1Offset, h.l1Entries}
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
	r, err := i.longestRun(off, min(limit, i.virtual-off))
	e := disk.Extent{Start: off, Length: r.length, Kind: r.kind}
	switch {
	case err != nil:
		return disk.Extent{}, err
	case r.kind == disk.Encoded, r.kind == disk.Data && i.cipher != nil:
		e.Kind, e.Layer = disk.Encoded, i
	case r.kind == disk.Data:
		e.File, e.Offset = i.data, r.host
	}
	return e, nil
}

// ReadAt is [disk.Disk]'s.
func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.virtual, p, off, func(p []byte, off int64) error {
		for len(p) > 0 {
			r, err := i.longestRun(off, int64(len(p)))
			if err != nil {
				return err
			}
			switch part := p[:r.length]; r.kind {
			case disk.Data:
				err = i.readStored(part, off, r.host)
			case disk.Encoded:
				err = i.readCompressed(part, off)
			default:
				clear(part)
			}
			if err != nil {
				return err
			}
			p, off = p[r.length:], off+r.length
		}
		return nil
	})
}

// longestRun returns the run at off, of limit bytes at most.
func (i *image) longestRun(off, limit int64) (run, error) {
	if i.info.Refused != nil {
		return run{}, i.info.Refused
	}
	c := cursor{image: i}
	r, err := c.runAt(off)
	if err != nil {
		return run{}, err
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
	r.length = min(r.length, limit)
	return r, nil
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
