package disk

import "fmt"

// A Format is one image format: how to recognize it and how to open it. Each
// format package exports one value of this type.
type Format struct {
	// Name is the name that qemu-img's -f knows it by, as in "qcow2".
	Name string

	// Probe scores how surely an image is of this format, from 0 (it is not)
	// to 100, by the first ProbeSize bytes of the file (fewer if the file is
	// shorter). The highest score wins. nil means never probed.
	Probe func(head []byte) int

	// ProbeEnd reports whether the last ProbeSize bytes of a file, or all of a
	// shorter one, are how an image of this format ends. It decides nothing by
	// itself: see Suffix and [Registry.Resembles]. nil means that there is
	// nothing to see.
	ProbeEnd func(tail []byte) bool

	// Suffix is how the names of files end that are of this format if ProbeEnd
	// says so and nothing else claims them, as in ".dmg"; empty when names do
	// not matter.
	Suffix string

	// Open reads the metadata of an image and returns it as one layer.
	// It must return in bounded time and memory for any content of f: a
	// *FormatError for what is damaged, an *UnsupportedError for what is
	// beyond this program. Open succeeds without the files that the image
	// refers to, so that the references can be listed; reading content that
	// is stored in a missing one is a *MissingReferenceError.
	Open func(f File, o OpenOptions) (Image, error)

	// Create begins an image of size bytes in t, which is empty. nil means
	// that the format is only read.
	Create func(t Target, size int64, o WriterOptions) (Writer, error)
}

// ProbeSize is how many bytes at the start of a file decide its format.
// qemu's block.c reads as much (BLOCK_PROBE_BUF_SIZE).
const ProbeSize = 512

// OpenOptions are what an image may need to be opened besides its file.
type OpenOptions struct {
	// Files are the open files behind Info().References, by index. It may be
	// shorter than the list or hold nil. Backing references are not opened
	// here: see [Overlay].
	Files []File
	// Snapshot selects an internal snapshot by ID or name; empty is the
	// active state.
	Snapshot string
	// Passphrase unlocks an encrypted image; nil when there is none.
	Passphrase []byte
	// Part has a raw image be a part of the file; nil is all of it, as always with
	// other formats.
	Part *Part
}

// A Part is a part of a file, in bytes.
type Part struct {
	Offset int64
	// Sized says that it has Size bytes, and does not go up to the end.
	Sized bool
	Size  int64
}

// An Image is one opened image file: one layer of a chain. Runs that it does
// not store are Unallocated and read as zeros, whatever lies below.
type Image interface {
	Disk
	// Info describes the image.
	Info() *Info
}

// A Snapshotted is an Image whose internal snapshots can be had without opening
// it once more, which derives the key of an encrypted image again.
type Snapshotted interface {
	// Snapshot returns the snapshot of that index of Info().Snapshots. It shares
	// the caches of the image.
	Snapshot(index int) (Image, error)
}

// A Checker is an Image with parts that [Disk.Extent] tells no place of: tables,
// and units that are stored encoded.
type Checker interface {
	// Check returns a *FormatError if one of them does not lie within the
	// file, or where nothing like it can be. Content is not read.
	Check() error
}

// CheckWithin returns a *FormatError unless the file has the n bytes at off.
func CheckWithin(format string, f File, what string, off, n int64) error {
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("get the size of the file: %w", err)
	}
	if off < 0 || n > size || off > size-n {
		return Corruptf(format, "the %s at offset %#x, of %d bytes, reaches beyond the end of the file", what, off, n)
	}
	return nil
}

// Info is what an image says about itself.
type Info struct {
	Format      string // name of the format
	VirtualSize int64  // bytes
	ClusterSize int64  // bytes of the unit of allocation; 0 when it has none
	Encrypted   bool
	Compressed  bool // every stored unit is compressed (streamOptimized VMDK)
	Dirty       bool // it was not closed cleanly

	// Refused is why content cannot be read, where the image can be described:
	// it is encrypted and no passphrase was given, or marked as damaged. nil
	// when it can be read. Reading returns the same error.
	Refused error

	// References are the other files that the image names, in the order in
	// which OpenOptions.Files takes them.
	References []Reference

	// Identity is what an overlay checks its backing image by (VMDK content
	// ID, VHD unique ID, VHDX data write GUID); empty when the format has
	// none.
	Identity string

	// Options are options (-o) by which an image like this one is created: it
	// can be laid out anew by them, on the backing file that it has. Lost is what
	// it would not have then, as in "it has internal snapshots"; empty is nothing.
	Options map[string]string
	Lost    string

	// Snapshots are the internal snapshots, in the order of their table.
	Snapshots []Snapshot

	// Details are the format's own fields, in the order and under the names
	// in which qemu-img info lists them ("Format specific information").
	Details []Detail
}

// WithoutSnapshots returns the Open of a format that has no internal snapshots:
// asking for one is an [UnsupportedError], after whatever else is wrong.
func WithoutSnapshots(format string, open func(File, OpenOptions) (Image, error)) func(File, OpenOptions) (Image, error) {
	return func(f File, o OpenOptions) (Image, error) {
		image, err := open(f, o)
		if err == nil && o.Snapshot != "" {
			err = Unsupportedf(format, "Failed to load snapshot: Block format '%s' used by device '' does not support temporarily loading internal snapshots", format)
		}
		if err != nil {
			return nil, err
		}
		return image, nil
	}
}

// Backing returns the reference to the layer below, or nil.
func (i *Info) Backing() *Reference {
	for k := range i.References {
		if i.References[k].Kind == BackingFile {
			return &i.References[k]
		}
	}
	return nil
}

// A ReferenceKind says what an image uses another file for.
type ReferenceKind string

// The kinds of reference.
const (
	BackingFile ReferenceKind = "backing file" // the layer below: backing file or parent
	DataFile    ReferenceKind = "data file"    // content of this layer, stored apart
	ExtentFile  ReferenceKind = "extent"       // one part of this layer's content
)

// A Reference is another file that an image names. The names are data from an
// attacker.
type Reference struct {
	Kind ReferenceKind
	// Names are the candidates in the order in which they are to be tried;
	// most formats have one.
	Names []string
	// Format is the format that the image declares for the file; empty when
	// it declares none.
	Format string
	// Identity, unless empty, is what the Info.Identity of the file must be.
	Identity string
}

// Name returns the first candidate.
func (r Reference) Name() string {
	if len(r.Names) == 0 {
		return ""
	}
	return r.Names[0]
}

// A Snapshot is one internal snapshot of an image.
type Snapshot struct {
	ID, Name    string
	VMStateSize int64 // bytes
	Seconds     int64 // creation, seconds since 1970
	Nanoseconds int64
	ClockNanos  int64  // virtual machine clock
	ICount      *int64 // instruction count; nil when not recorded
	DiskSize    int64  // virtual size at the snapshot, bytes
}

// A Detail is one field of a format's own description. Value is a string, a
// bool, an int64, a []Detail (a nested object) or a []any of these.
type Detail struct {
	Key   string // as in qemu-img's JSON: "refcount-bits"
	Value any
}
