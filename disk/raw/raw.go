// Package raw is the raw image format: the content of a virtual disk, byte for
// byte, and nothing else.
//
// The virtual size is the length of the file rounded up to 512 bytes, as QEMU
// has it; what lies beyond the end of the file reads as zeros. Holes of a
// sparse file are Zero runs when the file can tell them (disk.Mapper). There is
// no specification, and nothing that could ask for memory; a file of more than
// 2^63 - 512 bytes is refused.
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
	file  disk.File
	start int64 // where the disk is in the file
	info  disk.Info
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	if size < 0 || size > math.MaxInt64-(disk.SectorSize-1) {
		return nil, disk.Corruptf("raw", "file of %d bytes is too large", size)
	}
	size = sectors(size)
	i := &image{file: f}
	if o.Part != nil {
		if size, err = within(size, *o.Part); err != nil {
			return nil, err
		}
		i.start = o.Part.Offset
	}
	i.info = disk.Info{Format: "raw", VirtualSize: sectors(size)}
	return i, nil
}

// sectors rounds a length up to whole sectors.
func sectors(n int64) int64 { return (n + disk.SectorSize - 1) / disk.SectorSize * disk.SectorSize }

// within returns the length of a part of a file of size bytes. The texts are
// qemu-img's.
func within(size int64, p disk.Part) (int64, error) {
	switch left := size - p.Offset; {
	case p.Offset < 0 || p.Size < 0:
		return 0, fmt.Errorf("a part of %d bytes at %d", p.Size, p.Offset)
	case left < 0:
		return 0, fmt.Errorf("Offset (%d) cannot be greater than size of the containing file (%d)", p.Offset, size) //nolint:staticcheck // qemu-img's text
	case !p.Sized:
		return left, nil
	case p.Size > left:
		return 0, fmt.Errorf("The sum of offset (%d) and size (%d) has to be smaller or equal to the  actual size of the containing file (%d)", p.Offset, p.Size, size) //nolint:staticcheck // qemu-img's text
	case p.Size%disk.SectorSize != 0:
		return 0, fmt.Errorf("Specified size is not multiple of %d", disk.SectorSize) //nolint:staticcheck // qemu-img's text
	}
	return p.Size, nil
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.info.VirtualSize }

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.Size(), p, off, func(p []byte, off int64) error {
		return disk.ReadStored(i.file, p, i.start+off)
	})
}

func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	limit = min(limit, i.Size()-off)
	e := disk.Extent{Start: off, Length: limit, Kind: disk.Zero, File: i.file, Offset: i.start + off}
	start, end, err := disk.DataRun(i.file, e.Offset)
	switch {
	case errors.Is(err, io.EOF): // a hole up to the end
	case err != nil:
		return disk.Extent{}, err
	case start > e.Offset:
		e.Length = min(start-e.Offset, limit)
	default: // as QEMU, data is in whole sectors
		e.Kind, e.Length = disk.Data, min(sectors(end-i.start)-off, limit)
	}
	return e, nil
}
