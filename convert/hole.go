package convert

import (
	"errors"
	"io"
	"math"

	"instar/disk"
)

// holesFrom is the length in bytes from which holes of files are looked for, and
// count: to ask costs as much as to read a few pages.
const holesFrom = 1 << 20

// skipHole has a long extent begin with zeros where its file has a hole of at least
// so many bytes, and cuts it where that changes. Tables can name space that was
// never written to: disks that are preallocated are such.
func skipHole(e disk.Extent, least int64) (disk.Extent, error) {
	least = max(least, holesFrom)
	if e.Kind != disk.Data || e.Length < least {
		return e, nil
	}
	start, end, err := disk.DataRun(e.File, e.Offset)
	switch {
	case errors.Is(err, io.EOF):
		start, end = math.MaxInt64, math.MaxInt64
	case err != nil:
		return e, err
	}
	if e.Offset >= start {
		return e.Sub(e.Start, e.Start+min(wholeSectors(end-e.Offset), e.Length)), nil
	}
	hole := min(start-e.Offset, e.Length)
	e = e.Sub(e.Start, e.Start+hole)
	if hole >= least {
		e.Kind = disk.Zero
	}
	return e, nil
}
