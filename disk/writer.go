package disk

import (
	"crypto/hmac"
	"crypto/sha256"
)

// A Writer lays a virtual disk out in a [Target], in one format. The copy core
// asks it where things go, in ascending order and one at a time, and moves the
// bytes itself, in any order.
type Writer interface {
	// Unit returns the unit of allocation in bytes, a multiple of SectorSize.
	// Runs given to Place and Zero begin on a multiple of it, and end on one
	// or at the end of the disk.
	Unit() int64

	// Place reserves room for content of n bytes at off, to be stored as it
	// is. It returns where in the target the content goes, and for how much of
	// it that holds: at least a unit, or up to its end. The caller asks again
	// for the rest.
	Place(off, n int64) (at, placed int64, err error)

	// Zero arranges for [off, off+n), which nothing was placed at, to read as
	// zeros. It returns errors.ErrUnsupported where only written zeros will
	// do: the core then places and writes them.
	Zero(off, n int64) error

	// Finish is called once, when all content has been stored, and completes
	// the image. Nothing that was written before it opens as complete.
	Finish() error
}

// A Flat is a Writer that stores content at its own offsets: which zeros are left
// out changes the space that the output takes, and none of its bytes.
type Flat interface {
	Writer
	Flat()
}

// A Hollow is a Flat that may have nothing to do for zeros.
type Hollow interface {
	Flat
	// Hollow reports whether all that is not written reads as zeros, and is to be
	// left so: Zero does nothing then.
	Hollow() bool
}

// A Compressor is a Writer that stores its units compressed.
type Compressor interface {
	Writer

	// Compress appends the stored form of one unit of content, which is at off,
	// to dst and returns it, or nil if the unit is better stored as it is. The
	// last unit of a disk may be short. It may be called from several goroutines
	// at once.
	Compress(dst, unit []byte, off int64) ([]byte, error)

	// PlaceCompressed reserves room for a stored form of n bytes, of the unit
	// at off, and returns where in the target it goes.
	PlaceCompressed(off, n int64) (int64, error)
}

// A Spreader is a Writer of an image that consists of several files: what the
// core moves goes to Content and not to the target of the image. See [Join].
type Spreader interface {
	Writer
	Content() Target
}

// An Encrypter is a Writer whose content is encrypted before it is stored.
type Encrypter interface {
	Writer

	// Encrypt encrypts content in place: p, whole sectors, is what is at off of
	// the disk and is to be stored at offset at of the target. It may be called
	// from several goroutines at once.
	Encrypt(p []byte, off, at int64)
}

// A Sizer is a Writer of an image whose virtual size is another than Create was
// asked for: rounded up, to what the format has.
type Sizer interface {
	Writer
	// Size returns the virtual size of the image in bytes.
	Size() int64
}

// WriterOptions are what the creation of an image depends on besides its size.
type WriterOptions struct {
	// Dense has the space of the whole disk allocated: runs of zeros are
	// stored, not left out.
	Dense bool
	// Existing says that the target is a device, or an image that is written in
	// place: its length stays.
	Existing bool
	// Blank says that nothing is going to be copied into the image: it is only
	// created. What it shows until somebody writes to it does not matter where to
	// store zeros would cost, as in an encrypted image.
	Blank bool
	// Zeroed says that the target reads as zeros where nothing is written.
	Zeroed bool
	// Compress has units stored compressed: the Writer is a [Compressor] then, or
	// Create fails; but vmdk images that are not stream-optimized are not
	// compressed, and those that are always.
	Compress bool
	// BestCompression has more time spent on making compressed units small.
	BestCompression bool
	// Bitmaps are stored with the image; a format that cannot do that fails.
	Bitmaps []Bitmap
	// Values are the format's own options (-o), by name.
	Values map[string]string
	// Old is an image of the same format that is laid out anew, by its
	// Info().Options: the new one has its ids, and its keys if it is encrypted.
	// nil is none. A format that has content in fixed places writes it there, and
	// nothing else, if the target is the file of Old itself (Existing).
	Old Image
	// Name is what the image calls its own file, where it names files.
	Name string
	// Parent is the identity of the image's backing file; see [Info].
	Parent string
	// Files are the other files that the image is to consist of, and FileNames
	// what the image calls them.
	Files     []Target
	FileNames []string
	// Secret encrypts the image; nil is none.
	Secret []byte
	// Seed is what all ids of the image are derived from, and whatever else is
	// to be unpredictable in it: see [WriterOptions.Derive]. It is random, or
	// fixed if equal input is to give equal output.
	Seed [32]byte
	// Time is when the image is made, for formats that say so: in seconds since
	// 1970, UTC.
	Time int64
}

// Derive returns 32 bytes that depend on the seed and on name, which says what
// they are for. Whoever knows them learns nothing of the seed, nor of what is
// derived by another name.
func (o WriterOptions) Derive(name string) [32]byte {
	h := hmac.New(sha256.New, o.Seed[:])
	h.Write([]byte(name))
	return [32]byte(h.Sum(nil))
}

// UUID derives a UUID of version 4 (RFC 9562, section 5.4) as Derive does, in
// the order in which its bytes are written as text.
func (o WriterOptions) UUID(name string) [16]byte {
	d := o.Derive(name)
	id := [16]byte(d[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
