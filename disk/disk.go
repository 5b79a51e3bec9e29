// Package disk is a virtual disk as the rest of the program sees it: what can
// be read from an image, where its bytes are stored, and what it stands on.
//
// The package and the formats below it are pure. They never open a file by
// name: what an image names (a backing file, a data file, an extent) comes
// back as a [Reference], and whoever uses the package decides whether to open
// it. All offsets and lengths are bytes unless a name says otherwise.
package disk

import (
	"errors"
	"io"
)

// SectorSize is the unit in which virtual disks are measured: every virtual
// size is a multiple of it.
const SectorSize = 512

// A Disk is the content of a virtual disk. Its methods may be called from
// several goroutines at once.
type Disk interface {
	// Size returns the virtual size in bytes.
	Size() int64

	// ReadAt reads content as io.ReaderAt does: what is stored as zeros, and
	// what is not stored at all, reads as zeros; it returns io.EOF when the
	// read ends at or beyond Size.
	io.ReaderAt

	// Extent describes the run of content that begins at off: its kind, and
	// where its bytes are stored. The run is at least one byte and at most
	// limit bytes long, never reaches beyond Size, and is as long as the
	// format can tell cheaply; the next run may be of the same kind. off must
	// be in [0, Size) and limit positive. A table that cannot be trusted is
	// an error, never a guess.
	Extent(off, limit int64) (Extent, error)
}

// A Kind says how a run of a virtual disk is stored.
type Kind uint8

const (
	// Unallocated: this layer stores nothing here. What the layer below has
	// shows through; without one the run reads as zeros.
	Unallocated Kind = iota
	// Zero: this layer says that the run reads as zeros.
	Zero
	// Data: the run is stored byte for byte at Extent.Offset of Extent.File.
	Data
	// Encoded: the run is stored compressed, encrypted or scattered, and only
	// ReadAt can tell its content.
	Encoded
)

// String returns the name of the kind, for messages and tests.
func (k Kind) String() string {
	switch k {
	case Unallocated:
		return "unallocated"
	case Zero:
		return "zero"
	case Data:
		return "data"
	case Encoded:
		return "encoded"
	}
	return "invalid"
}

// An Extent is one run of a virtual disk.
type Extent struct {
	Start  int64 // where the run begins on the virtual disk
	Length int64 // how long it is; positive
	Kind   Kind

	// File and Offset say where the bytes of a Data run are stored. The file
	// may end before the run does: what is missing reads as zeros. A Zero run
	// that is a hole of a file has them as well.
	File   File
	Offset int64

	// Layer has the content of an Encoded run, at the same virtual offsets.
	Layer io.ReaderAt
}

// End returns the offset of the first byte after the run.
func (e Extent) End() int64 { return e.Start + e.Length }

// Sub returns the part of the run in [start, end), which must lie inside it.
func (e Extent) Sub(start, end int64) Extent {
	if e.File != nil {
		e.Offset += start - e.Start
	}
	e.Start, e.Length = start, end-start
	return e
}

// Read fills p with the content of the run, which must be len(p) bytes long.
func (e Extent) Read(p []byte) error {
	switch e.Kind {
	case Data:
		return ReadStored(e.File, p, e.Offset)
	case Encoded:
		return ReadStored(e.Layer, p, e.Start)
	default:
		clear(p)
		return nil
	}
}

// A File is an open image file as the formats read it: bytes at offsets, and a
// length. ReadAt may be called from several goroutines at once.
type File interface {
	io.ReaderAt
	// Size returns the length of the file in bytes.
	Size() (int64, error)
}

// A Mapper is a File that knows which of its parts hold no data.
type Mapper interface {
	File
	// DataRun returns the first run [start, end) of stored data at or after
	// off. It returns io.EOF when there is none before the end of the file.
	DataRun(off int64) (start, end int64, err error)
}

// DataRun returns the first run of stored data of f at or after off, and
// io.EOF when none is left. A file that is no [Mapper] is all data.
func DataRun(f File, off int64) (start, end int64, err error) {
	if m, ok := f.(Mapper); ok {
		return m.DataRun(off)
	}
	size, err := f.Size()
	if err != nil {
		return 0, 0, err
	}
	if off >= size {
		return 0, 0, io.EOF
	}
	return off, size, nil
}

// NewFile returns a [File] of size bytes over r.
func NewFile(r io.ReaderAt, size int64) File { return readerFile{r, size} }

type readerFile struct {
	io.ReaderAt
	size int64
}

func (f readerFile) Size() (int64, error) { return f.size, nil }

// A Target is an open file being written. Its methods may be called from
// several goroutines at once.
type Target interface {
	io.WriterAt
	// Truncate sets the length of the file; what it adds reads as zeros.
	Truncate(size int64) error
	// Zero makes [off, off+n) read as zeros, and allocated, without writing
	// them. It returns errors.ErrUnsupported where the file cannot do that.
	Zero(off, n int64) error
	// CopyFrom has n bytes at srcOff of src stored at off without passing
	// them through this process, and returns how many were copied before an
	// error or the end of src. It returns errors.ErrUnsupported, with nothing
	// copied, where the two files cannot do that.
	CopyFrom(src File, srcOff, off, n int64) (int64, error)
	// Sync has everything written so far put on stable storage.
	Sync() error
}

// A SparseCopier is a Target that can leave zeros out of what it copies.
type SparseCopier interface {
	Target
	// SparseBlock returns in blocks of how many bytes; 0 is that it cannot.
	SparseBlock() int64
	// CopySparse does as CopyFrom, but leaves each block, counted from off, as it
	// is where it would become all zeros. It copies less where something fails,
	// and what it says then may be less than what it did. holes says that there are
	// some in what is copied, which it is worth while to look for.
	CopySparse(src File, srcOff, off, n int64, holes bool) (int64, error)
}

// A Puncher is a Target that can give space up.
type Puncher interface {
	Target
	// Punch makes [off, off+n) read as zeros, and no longer take space. It returns
	// errors.ErrUnsupported where the file cannot do that.
	Punch(off, n int64) error
}

// ReadStored fills p with what f has at off. A file that ends early is
// continued by zeros, as qemu continues a truncated image file.
func ReadStored(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n < len(p) && err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	clear(p[n:])
	return nil
}
