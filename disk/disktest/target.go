package disktest

import (
	"errors"

	"instar/disk"
)

// A Target is a file in memory that is written, by one goroutine.
type Target struct {
	content []byte
	// Before is called before each change; nil is for nobody.
	Before func(content []byte)
}

// NewTarget returns a target with something in it.
func NewTarget(content []byte) *Target { return &Target{content: content} }

// Bytes returns the content.
func (t *Target) Bytes() []byte { return t.content }

func (t *Target) change() {
	if t.Before != nil {
		t.Before(t.content)
	}
}

// WriteAt is [io.WriterAt]'s.
func (t *Target) WriteAt(p []byte, off int64) (int, error) {
	t.change()
	t.grow(off + int64(len(p)))
	return copy(t.content[off:], p), nil
}

func (t *Target) grow(n int64) {
	if more := n - int64(len(t.content)); more > 0 {
		t.content = append(t.content, make([]byte, more)...)
	}
}

// Truncate is [disk.Target]'s.
func (t *Target) Truncate(size int64) error {
	t.change()
	t.grow(size)
	clear(t.content[size:])
	t.content = t.content[:size]
	return nil
}

// Zero is [disk.Target]'s.
func (t *Target) Zero(off, n int64) error {
	t.change()
	t.grow(off + n)
	clear(t.content[off : off+n])
	return nil
}

// CopyFrom is [disk.Target]'s: there is no kernel to do it.
func (t *Target) CopyFrom(disk.File, int64, int64, int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

// Sync is [disk.Target]'s.
func (t *Target) Sync() error { return nil }
