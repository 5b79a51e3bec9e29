package guest

import "unsafe"

// alignment is what every file system takes for direct I/O (O_DIRECT): of
// offsets, lengths and buffers.
const alignment = 4096

// isAligned reports whether p may be read or written at off past the page cache.
func isAligned(p []byte, off int64) bool {
	return off%alignment == 0 && len(p)%alignment == 0 && uintptr(unsafe.Pointer(unsafe.SliceData(p)))%alignment == 0
}
