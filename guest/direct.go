package guest

import (
	"errors"
	"io"
	"sync"
)

// A directFile is an input that is read past the page cache: its descriptor is
// open with O_DIRECT. What is not aligned comes through a buffer that is.
type directFile struct{ file }

const bounceSize = 256 << 10

var bounce = sync.Pool{New: func() any { b := make([]byte, bounceSize); return &b }}

// ReadAt fills p unless the file ends first.
func (f *directFile) ReadAt(p []byte, off int64) (int, error) {
	if isAligned(p, off) {
		return f.file.ReadAt(p, off)
	}
	buf := bounce.Get().(*[]byte)
	defer bounce.Put(buf)
	done := 0
	for done < len(p) {
		at := off + int64(done)
		start := at - at%alignment
		length := (at - start + int64(len(p)-done) + alignment - 1) / alignment * alignment
		n, err := f.file.ReadAt((*buf)[:min(length, bounceSize)], start)
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
		if int64(n) <= at-start {
			return done, io.EOF
		}
		done += copy(p[done:], (*buf)[at-start:n])
		if err != nil && done < len(p) {
			return done, err
		}
	}
	return done, nil
}
