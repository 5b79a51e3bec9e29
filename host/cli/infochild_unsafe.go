package cli

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An fsxattr is struct fsxattr of linux/fs.h.
type fsxattr struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

const (
	fsGetXattr     = 0x801c581f // FS_IOC_FSGETXATTR
	flagExtentSize = 0x800      // FS_XFLAG_EXTSIZE
)

// extentSizeHint returns in what pieces, in bytes, the file system has been
// asked to allocate a file; 0 where it has not, or does not know.
func extentSizeHint(f *os.File) uint32 {
	var x fsxattr
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&x)))
	if errno != 0 || x.flags&flagExtentSize == 0 {
		return 0
	}
	return x.extentSize
}
