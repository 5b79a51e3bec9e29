package guest

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// seekRuns asks the microVM for as many runs as it tells of at once.
func seekRuns(fd int, off int64) ([]wall.Run, error) {
	runs := make([]wall.Run, wall.MaxRuns)
	n, _, errno := unix.Syscall6(unix.SYS_LSEEK, uintptr(fd), uintptr(off), wall.SeekRuns,
		uintptr(unsafe.Pointer(unsafe.SliceData(runs))), uintptr(len(runs)), 0)
	if errno != 0 {
		return nil, errno
	}
	return runs[:n], nil
}
