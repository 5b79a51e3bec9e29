package disk

import "io"

// A Bitmap is a persistent bitmap of an image: which parts of the disk were
// written to since it was begun. It says nothing about content.
type Bitmap struct {
	Name        string
	Granularity int64 // bytes of the disk behind each bit, a power of two
	// Auto says that writes are recorded, now and when the image is opened.
	Auto bool
	// Broken says that it was not closed cleanly, and is not to be trusted.
	Broken bool
	// Bits are the bits, the lowest of the first byte first: as many bytes as
	// the size of the disk asks for.
	Bits io.ReaderAt
}

// A BitmapSource is an Image with persistent bitmaps.
type BitmapSource interface {
	// Bitmaps returns them, in their order.
	Bitmaps() ([]Bitmap, error)
}
