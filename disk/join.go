package disk

import "errors"

// Join returns a target that several files make up: offset k*span of it is the
// start of the file of index k. Nothing that is written, zeroed or copied may
// reach from one file into another: [Writer].Place keeps them apart.
func Join(span int64, files []Target) Target { return &joined{span, files} }

type joined struct {
	span  int64
	files []Target
}

// at returns the file that an offset is in, and the offset in it.
func (j *joined) at(off int64) (Target, int64) { return j.files[off/j.span], off % j.span }

func (j *joined) WriteAt(p []byte, off int64) (int, error) {
	f, at := j.at(off)
	return f.WriteAt(p, at)
}

func (j *joined) Zero(off, n int64) error {
	f, at := j.at(off)
	return f.Zero(at, n)
}

func (j *joined) CopyFrom(src File, srcOff, off, n int64) (int64, error) {
	f, at := j.at(off)
	return f.CopyFrom(src, srcOff, at, n)
}

// Truncate is for the files one by one.
func (j *joined) Truncate(int64) error { return errors.ErrUnsupported }

func (j *joined) Sync() error {
	for _, f := range j.files {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}
