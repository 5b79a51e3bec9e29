// Package flat lists the extents of content that is stored byte for byte.
package flat

import (
	"errors"
	"io"

	"instar/disk"
)

// Extent describes the run of a virtual disk at off, of limit bytes at most,
// whose content is stored at offset at of f. What the file leaves out, as a
// hole or by ending early, is a Zero run.
func Extent(f disk.File, at, off, limit int64) (disk.Extent, error) {
	e := disk.Extent{Start: off, Length: limit, Kind: disk.Zero}
	start, end, err := disk.DataRun(f, at)
	switch {
	case errors.Is(err, io.EOF):
		return e, nil
	case err != nil:
		return disk.Extent{}, err
	case start > at:
		e.Length = min(limit, start-at)
		return e, nil
	}
	e.Kind, e.File, e.Offset, e.Length = disk.Data, f, at, min(limit, end-at)
	return e, nil
}
