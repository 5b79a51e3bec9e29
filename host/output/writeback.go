package output

import (
	"time"

	"golang.org/x/sys/unix"
)

// writeBackEvery is how often what waits in the page cache is sent to the disk.
const writeBackEvery = 50 * time.Millisecond

// WriteBack sends what is written to the output to the disk while more is
// written, until stop is called, so that a sync at the end finds little to wait
// for. Nothing depends on its success.
func (f *File) WriteBack() (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(writeBackEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f.beginWriteBack()
			}
		}
	}()
	return func() { close(done); <-stopped }
}

func (f *File) beginWriteBack() {
	for _, f := range append([]*File{f}, f.extra...) {
		_ = unix.SyncFileRange(int(f.file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
}
