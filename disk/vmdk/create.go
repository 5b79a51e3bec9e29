package vmdk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"instar/disk"
	"instar/disk/internal/deflate"
)

// Subformats, by the names of qemu-img's option and of createType.
const (
	monolithicSparse = "monolithicSparse"
	monolithicFlat   = "monolithicFlat"
	streamOptimized  = "streamOptimized"
	splitSparse      = "twoGbMaxExtentSparse"
	splitFlat        = "twoGbMaxExtentFlat"
)

// splitSize is how much of a disk an extent of a split image has, in bytes.
const splitSize = 2 << 30

// Texts of qemu-img.
var (
	errBackingFormat = errors.New("backing_file must be a vmdk image")
	errCompat6       = errors.New("compat6 cannot be enabled with hwversion set")
	errFlatBacking   = errors.New("Flat image can't have backing file")
	errFlatZeroed    = errors.New("Flat image can't enable zeroed grain")
	errCompressFlat  = errors.New("invalid cluster size")
	errTooLarge      = errors.New("L1 size too big")
	errFileTooLarge  = errors.New("File too large")
)

var errLongDescriptor = errors.New("the descriptor is too long")

// createOptions are what an image is to be like.
type createOptions struct {
	subformat, adapter   string
	hardware, tools      string // versions
	backing              string // name of the parent; "" is none
	zeroGrains, compress bool
	flat, split          bool
}

// parseCreateOptions reads qemu-img's options, and finds what is wrong in its
// order.
func parseCreateOptions(values map[string]string) (createOptions, error) {
	get := func(name, otherwise string) string {
		if v, ok := values[name]; ok {
			return v
		}
		return otherwise
	}
	o := createOptions{
		subformat:  get("subformat", monolithicSparse),
		adapter:    get("adapter_type", "ide"),
		hardware:   get("hwversion", "undefined"),
		tools:      get("toolsversion", "2147483647"),
		backing:    values["backing_file"],
		zeroGrains: values["zeroed_grain"] == "on",
	}
	o.compress = o.subformat == streamOptimized
	o.flat = o.subformat == monolithicFlat || o.subformat == splitFlat
	o.split = o.subformat == splitSparse || o.subformat == splitFlat
	if format, given := values["backing_fmt"]; given && format != formatName {
		return o, errBackingFormat
	}
	if err := oneOf(o.adapter, "ide", "buslogic", "lsilogic", "legacyESX"); err != nil {
		return o, err
	}
	if err := oneOf(o.subformat, monolithicSparse, monolithicFlat, streamOptimized, splitSparse, splitFlat); err != nil {
		return o, err
	}
	compat6 := values["compat6"] == "on"
	_, backed := values["backing_file"]
	switch {
	case compat6 && o.hardware != "undefined":
		return o, errCompat6
	case o.flat && backed:
		return o, errFlatBacking
	case o.flat && o.zeroGrains:
		return o, errFlatZeroed
	}
	switch {
	case compat6:
		o.hardware = "6"
	case o.hardware == "undefined":
		o.hardware = "4"
	}
	return o, nil
}

func oneOf(value string, names ...string) error {
	if slices.Contains(names, value) {
		return nil
	}
	return fmt.Errorf("invalid parameter value: %s", value)
}

// create begins an image. Nothing that is written before Finish makes a header
// or a descriptor.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	options, err := parseCreateOptions(o.Values)
	if err != nil {
		return nil, err
	}
	if size == 0 { // with a capacity of 0, QEMU takes the descriptor for the disk
		return nil, disk.Unsupportedf(formatName, "Unsupported image type '%s'", options.subformat)
	}
	if options.flat && o.Compress {
		return nil, errCompressFlat
	}
	if !options.flat && size > maxDirectory*tableSpan {
		return nil, errTooLarge
	}
	parent, err := parentID(options, o.Parent)
	if err != nil {
		return nil, err
	}
	i := &newImage{createOptions: options, parent: parent, target: t, size: size, name: o.Name, dense: o.Dense}
	if old, ok := o.Old.(*image); ok {
		if err := i.keep(old); err != nil {
			return nil, err
		}
	}
	id := o.Derive("cid")
	if i.cid = binary.LittleEndian.Uint32(id[:]); i.cid == math.MaxUint32 { // which is nobody's
		i.cid--
	}
	if len(i.descriptor()) > embeddedLength { // that of several files will do with more, for its extents
		return nil, errLongDescriptor
	}
	if options.subformat == monolithicSparse || options.subformat == streamOptimized {
		s := newSparseExtent(t, size, options)
		s.device = o.Existing
		if err := s.begin(); err != nil {
			return nil, err
		}
		w := &sparseWriter{newImage: i, extents: []*sparseExtent{s}}
		if options.compress {
			return newCompressor(w, deflate.LevelFor(o.BestCompression)), nil
		}
		return w, nil
	}
	return i.several(o)
}

// several begins an image whose extents are files of their own.
func (i *newImage) several(o disk.WriterOptions) (disk.Writer, error) {
	span := i.size
	if i.split {
		span = splitSize
	}
	n := (i.size + span - 1) / span
	if int64(len(o.Files)) != n || len(o.FileNames) != len(o.Files) {
		return nil, fmt.Errorf("the image consists of %d extents, and there are %d files for them", n, len(o.Files))
	}
	for _, name := range o.FileNames {
		if !isName(name) || len(name) > maxExtentName {
			return nil, fmt.Errorf("a descriptor cannot have an extent of the name %q", name)
		}
	}
	i.names = o.FileNames
	if err := i.target.Truncate(0); err != nil {
		return nil, err
	}
	if i.flat {
		return newFlatWriter(i, span, o.Files)
	}
	w := &sparseWriter{newImage: i, joined: disk.Join(fileSpan, o.Files)}
	for k, f := range o.Files {
		s := newSparseExtent(f, min(span, i.size-int64(k)*span), i.createOptions)
		if err := s.begin(); err != nil {
			return nil, err
		}
		w.extents = append(w.extents, s)
	}
	return w, nil
}

// parentID returns the CID of the parent, and that of nobody where there is
// none.
func parentID(o createOptions, identity string) (uint32, error) {
	if o.backing == "" {
		return math.MaxUint32, nil
	}
	if !isName(o.backing) || len(o.backing) > maxParentName {
		return 0, fmt.Errorf("a descriptor cannot have a parent of the name %q", o.backing)
	}
	id, err := strconv.ParseUint(identity, 16, 32)
	if err != nil {
		return 0, disk.Unsupportedf(formatName, "the backing file has to be opened for its CID")
	}
	return uint32(id), nil
}

// isName reports whether a descriptor can have a name in quotation marks.
func isName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' })
}

// A newImage is what all subformats need for the descriptor.
type newImage struct {
	createOptions
	target disk.Target // of the descriptor
	size   int64       // bytes
	name   string      // of its file
	names  []string    // of the extents, where they are files of their own
	dense  bool
	cid    uint32
	parent uint32   // its CID
	stored bool     // something is stored
	base   []string // of the disk data base of an image that is laid out anew
}

// descriptor returns the text that describes the image (Virtual Disk Format
// 5.0, "The Descriptor File"), as qemu-img writes it: without leading zeros.
func (i *newImage) descriptor() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Disk DescriptorFile\nversion=1\nCID=%x\nparentCID=%x\ncreateType=%q\n", i.cid, i.parent, i.subformat)
	if i.backing != "" {
		fmt.Fprintf(&b, "parentFileNameHint=\"%s\"", i.backing)
	}
	b.WriteString("\n# Extent description\n")
	if i.names == nil {
		fmt.Fprintf(&b, "RW %d SPARSE \"%s\"\n", i.size/disk.SectorSize, embeddedName(i.name))
	}
	span := i.size
	if i.split {
		span = splitSize
	}
	for k, name := range i.names {
		sectors := min(span, i.size-int64(k)*span) / disk.SectorSize
		if i.flat {
			fmt.Fprintf(&b, "RW %d FLAT \"%s\" 0\n", sectors, name)
		} else {
			fmt.Fprintf(&b, "RW %d SPARSE \"%s\"\n", sectors, name)
		}
	}
	heads := int64(255)
	if i.adapter == "ide" {
		heads = 16
	}
	const perTrack = 63
	b.WriteString("\n# The Disk Data Base\n#DDB\n\n")
	for _, line := range i.base {
		b.WriteString(line + "\n")
	}
	if len(i.base) > 0 {
		return []byte(b.String())
	}
	fmt.Fprintf(&b, "ddb.virtualHWVersion = \"%s\"\n", i.hardware)
	fmt.Fprintf(&b, "ddb.geometry.cylinders = \"%d\"\nddb.geometry.heads = \"%d\"\nddb.geometry.sectors = \"%d\"\n",
		i.size/(heads*perTrack*disk.SectorSize), heads, perTrack)
	fmt.Fprintf(&b, "ddb.adapterType = \"%s\"\nddb.toolsVersion = \"%s\"\n", i.adapter, i.tools)
	return []byte(b.String())
}

// embeddedName is a name as it stands in an embedded descriptor, where nobody
// opens it: no more than a name, whatever is in it.
func embeddedName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' {
			return '_'
		}
		return r
	}, name)
}

// writeDescriptor writes the file of the descriptor, as long as qemu-img leaves
// it: in whole sectors once something is stored.
func (i *newImage) writeDescriptor() error {
	text := i.descriptor()
	if len(text) > maxDescriptor-disk.SectorSize {
		return errLongDescriptor
	}
	if short := len(text) % disk.SectorSize; i.stored && short > 0 {
		text = append(text, make([]byte, disk.SectorSize-short)...)
	}
	_, err := i.target.WriteAt(text, 0)
	return err
}
