package convert

import (
	"errors"
	"io"
	"math"
	"reflect"

	"instar/disk"
)

// holesFrom is the length in bytes from which holes of files are looked for, and
// count: to ask costs as much as to read a few pages.
const holesFrom = 1 << 20

// A fileRun remembers the last run of data of a file that was asked for. Tables can
// name space that was never written to: disks that are preallocated are such.
type fileRun struct {
	least            int64 // length of holes that count, bytes
	file             disk.File
	from, start, end int64 // where it was asked for, and the run
}

// clip has a long extent begin with zeros where its file has a long hole, and
// cuts it where that changes.
func (r *fileRun) clip(e disk.Extent) (disk.Extent, error) {
	least := max(r.least, holesFrom)
	if e.Kind != disk.Data || e.Length < least {
		return e, nil
	}
	if !r.has(e.File, e.Offset) {
		if err := r.ask(e.File, e.Offset); err != nil {
			return e, err
		}
	}
	if e.Offset >= r.start {
		return e.Sub(e.Start, e.Start+min(wholeSectors(r.end-e.Offset), e.Length)), nil
	}
	hole := min(r.start-e.Offset, e.Length)
	e = e.Sub(e.Start, e.Start+hole)
	if hole >= least {
		e.Kind = disk.Zero
	}
	return e, nil
}

// has reports whether the run that is remembered says what a file has at an
// offset.
func (r *fileRun) has(f disk.File, off int64) bool {
	return r.file != nil && isComparable(f) && r.file == f && off >= r.from && off < r.end
}

func (r *fileRun) ask(f disk.File, off int64) error {
	start, end, err := disk.DataRun(f, off)
	switch {
	case errors.Is(err, io.EOF):
		start, end = math.MaxInt64, math.MaxInt64
	case err != nil:
		return err
	}
	r.file, r.from, r.start, r.end = nil, off, start, end
	if isComparable(f) {
		r.file = f
	}
	return nil
}

func isComparable(f disk.File) bool {
	return reflect.TypeOf(f).Comparable() && reflect.ValueOf(f).Comparable()
}
