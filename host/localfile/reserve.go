package localfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// Reserves reports whether writes to f take less time where space has been
// allocated before. So it is on ext4, whose delayed allocation keeps accounts of
// every page that is written without; but not for direct I/O.
func Reserves(f *os.File) bool {
	var system unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &system) != nil || system.Type != unix.EXT4_SUPER_MAGIC {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_DIRECT == 0
}
