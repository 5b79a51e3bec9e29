package disk

// A Writer lays a virtual disk out in a [Target], in one format. The copy core
// asks it where things go, in ascending order and from one goroutine, and
// moves the bytes itself, in any order.
type Writer interface {
	// Unit returns the unit of allocation in bytes, a multiple of SectorSize.
	// Runs given to Place and Zero begin on a multiple of it, and end on one
	// or at the end of the disk.
	Unit() int64

	// Place reserves room for n bytes of content at off, to be stored as they
	// are, and returns the offset in the target where they go. The room is
	// one piece.
	Place(off, n int64) (int64, error)

	// Zero arranges for [off, off+n), which nothing was placed at, to read as
	// zeros. It returns errors.ErrUnsupported where only written zeros will
	// do: the core then places and writes them.
	Zero(off, n int64) error

	// Finish is called once, when all content has been stored, and completes
	// the image. Nothing that was written before it opens as complete.
	Finish() error
}

// WriterOptions are what the creation of an image depends on besides its size.
type WriterOptions struct {
	// Dense has the space of the whole disk allocated: runs of zeros are
	// stored, not left out.
	Dense bool
	// Existing says that the target is a device, or an image that is written in
	// place: its length stays.
	Existing bool
	// Zeroed says that the target reads as zeros where nothing is written.
	Zeroed bool
	// Values are the format's own options (-o), by name.
	Values map[string]string
}
