// Package raw is the raw image format: the content of a virtual disk, byte for
// byte, and nothing else.
//
// The virtual size is the length of the file rounded up to 512 bytes, as QEMU
// has it; what lies beyond the end of the file reads as zeros. Holes of a
// sparse file are Zero runs when the file can tell them (disk.Mapper).
package raw

import (
	"errors"
	"fmt"
	"io"
	"math"

	"instar/disk"
)

// Format is the raw format. Everything is a raw image: it is what is left
// when no other format speaks up.
var Format = disk.Format{
	Name:   "raw",
	Probe:  func([]byte) int { return 1 },
	Open:   disk.WithoutSnapshots("raw", open),
	Create: create,
}

type image struct {
	file disk.File
	info disk.Info
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	if size < 0 || size > math.MaxInt64-(disk.SectorSize-1) {
		return nil, disk.Corruptf("raw", "file of %d bytes is too large", size)
	}
	size = (size + disk.SectorSize - 1) / disk.SectorSize * disk.SectorSize
	return &image{file: f, info: disk.Info{Format: "raw", VirtualSize: size}}, nil
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.info.VirtualSize }

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.Size(), p, off, func(p []byte, off int64) error {
		return disk.ReadStored(i.file, p, off)
	})
}

func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	limit = min(limit, i.Size()-off)
	start, end, err := disk.DataRun(i.file, off)
	switch {
	case errors.Is(err, io.EOF):
		return i.hole(off, limit), nil
	case err != nil:
		return disk.Extent{}, err
	case start > off:
		return i.hole(off, min(start-off, limit)), nil
	}
	return disk.Extent{Start: off, Length: min(end-off, limit), Kind: disk.Data, File: i.file, Offset: off}, nil
}

// hole returns a run that a hole of the file makes.
func (i *image) hole(off, n int64) disk.Extent {
	return disk.Extent{Start: off, Length: n, Kind: disk.Zero, File: i.file, Offset: off}
}
