package vmdk

import (
	"fmt"
	"sort"
	"sync"

	"instar/disk"
	"instar/disk/internal/blockmap"
	"instar/disk/internal/flat"
)

// Format is VMware's virtual disk.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

// An extent is one part of a disk. Neither flat nor sparse, it is zeros.
type extent struct {
	start, size int64 // bytes of the virtual disk
	line        extentLine
	reference   *disk.Reference // to the file that it is stored in; nil when that is the image's own, or none
	file        disk.File       // nil when it was not opened
	sparse      *sparse         // nil for a flat extent, or without a file
}

type image struct {
	info      disk.Info
	extents   []extent
	base      []string // lines of the disk data base
	caches    caches
	inflaters sync.Pool // *inflater
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	var magic [4]byte
	if err := disk.ReadStored(f, magic[:], 0); err != nil {
		return nil, err
	}
	i := new(image)
	openImage := i.openDescriptorFile
	if m := string(magic[:]); m == magicHosted || m == magicESX {
		openImage = i.openSparseFile
	}
	d, err := openImage(f, o.Files)
	if err != nil {
		return nil, err
	}
	i.describe(d)
	return i, nil
}

// openSparseFile opens a disk that is one sparse extent with a descriptor in it.
func (i *image) openSparseFile(f disk.File, _ []disk.File) (*descriptor, error) {
	s, err := readSparse(f)
	if err != nil {
		return nil, err
	}
	text, err := readText(f, embeddedAt, maxEmbedded)
	if err != nil {
		return nil, err
	}
	d, err := parseDescriptor(text)
	if err != nil {
		return nil, err
	}
	d.createType = "monolithicSparse"
	if s.compressed {
		d.createType = "streamOptimized"
	}
	i.extents = []extent{{size: s.sectors * disk.SectorSize, file: f, sparse: s}}
	return d, nil
}

// openDescriptorFile opens a disk whose extents are files of their own.
func (i *image) openDescriptorFile(f disk.File, files []disk.File) (*descriptor, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	if size <= 0 {
		return nil, disk.Corruptf(formatName, "File is too small, not a valid image")
	}
	text, err := readText(f, 0, min(size, maxDescriptor))
	if err != nil {
		return nil, err
	}
	d, err := parseDescriptorFile(text)
	if err != nil {
		return nil, err
	}
	references, index := d.references()
	i.info.References = references
	var start int64
	for _, line := range d.extents {
		x := extent{start: start, size: line.sectors * disk.SectorSize, line: line}
		start += x.size
		if line.kind != kindZero {
			k := index[line.name]
			x.reference = &references[k]
			if k < len(files) {
				x.file = files[k]
			}
		}
		if err := x.open(); err != nil {
			return nil, err
		}
		i.extents = append(i.extents, x)
	}
	return d, nil
}

func readText(f disk.File, at, n int64) ([]byte, error) {
	text := make([]byte, n)
	err := disk.ReadStored(f, text, at)
	return text, err
}

// references returns one reference for each file that the extents name, and
// their indices by name.
func (d *descriptor) references() (all []disk.Reference, index map[string]int) {
	index = map[string]int{}
	for _, e := range d.extents {
		if _, ok := index[e.name]; !ok && e.kind != kindZero {
			index[e.name] = len(all)
			all = append(all, disk.Reference{Kind: disk.ExtentFile, Names: []string{e.name}})
		}
	}
	return all, index
}

// open reads what the extent's file says about it.
func (x *extent) open() (err error) {
	if x.file == nil {
		return nil
	}
	switch x.line.kind {
	case kindSparse, kindVMFSSparse:
		x.sparse, err = readSparse(x.file)
	case kindSESparse:
		x.sparse, err = readSE(x.file)
	}
	if err == nil && x.sparse != nil && x.sparse.sectors != x.line.sectors {
		err = disk.Corruptf(formatName, "extent %q has %d sectors, the descriptor says %d", x.line.name, x.sparse.sectors, x.line.sectors)
	}
	return err
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.info.VirtualSize }

func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	x := i.find(off)
	in := off - x.start
	limit = min(limit, x.size-in)
	switch {
	case x.line.kind == kindZero:
		return disk.Extent{Start: off, Length: limit, Kind: disk.Zero}, nil
	case x.file == nil:
		return disk.Extent{}, &disk.MissingReferenceError{Reference: *x.reference}
	case x.sparse == nil:
		return flat.Extent(x.file, x.line.offset*disk.SectorSize+in, off, limit)
	}
	t := i.caches.of(x)
	m := blockmap.Map{Size: x.size, Block: x.sparse.grain, File: x.file, Layer: i, Lookup: t.lookup}
	e, err := m.Extent(in, limit)
	e.Start = off
	return e, err
}

// find returns the extent that off is in.
func (i *image) find(off int64) *extent {
	k := sort.Search(len(i.extents), func(k int) bool { return i.extents[k].start > off })
	return &i.extents[k-1]
}

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.Size(), p, off, i.read)
}

func (i *image) read(p []byte, off int64) error {
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
}

// describe fills in what the image says about itself.
func (i *image) describe(d *descriptor) {
	last := i.extents[len(i.extents)-1]
	i.info.Format = formatName
	i.info.VirtualSize = last.start + last.size
	i.info.Identity = identity(d.cid)
	if parent, ok := d.parent(); ok {
		i.info.References = append(i.info.References, parent)
	}
	i.info.ClusterSize, i.info.Compressed = i.granularity()
	i.base = d.base
	i.info.Options = map[string]string{"subformat": d.createType}
	i.info.Lost = i.lost(d)
	var extents []any
	for k := range i.extents {
		if x := &i.extents[k]; x.line.kind != kindZero {
			extents = append(extents, x.details())
		}
	}
	i.info.Details = []disk.Detail{
		{Key: "cid", Value: int64(d.cid)},
		{Key: "parent-cid", Value: int64(d.parentCID)},
		{Key: "create-type", Value: d.createType},
		{Key: "extents", Value: extents},
	}
}

// granularity returns the grain size that all extents have, if they do, and
// whether they are all compressed.
func (i *image) granularity() (grain int64, compressed bool) {
	first := i.extents[0].sparse
	if first == nil {
		return 0, false
	}
	for _, x := range i.extents {
		if x.sparse == nil || x.sparse.grain != first.grain || x.sparse.compressed != first.compressed {
			return 0, false
		}
	}
	return first.grain, first.compressed
}

// details describes an extent. The name of the image's own file is not known
// here, and left empty.
func (x *extent) details() []disk.Detail {
	var d []disk.Detail
	if x.sparse != nil && x.sparse.compressed {
		d = append(d, disk.Detail{Key: "compressed", Value: true})
	}
	d = append(d, disk.Detail{Key: "virtual-size", Value: x.size}, disk.Detail{Key: "filename", Value: x.line.name})
	if x.sparse != nil {
		d = append(d, disk.Detail{Key: "cluster-size", Value: x.sparse.grain})
	}
	return append(d, disk.Detail{Key: "format", Value: x.line.kind})
}
