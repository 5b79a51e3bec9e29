package emulated

import (
	"bytes"
	"fmt"
	"os"
)

// An archive is an initial RAM file system in the making: a cpio archive of the
// kind that the kernel calls newc (Documentation/driver-api/early-userspace).
type archive struct {
	buf   bytes.Buffer
	inode int
}

// Modes of files in an archive: include/uapi/linux/stat.h.
const (
	directory  = 0o040755
	executable = 0o100755
)

// add adds a file under its path from the root.
func (a *archive) add(path string, mode int, content []byte) {
	a.inode++
	fmt.Fprintf(&a.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path)+1, 0)
	a.buf.WriteString(path + "\x00")
	a.pad()
	a.buf.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// addFile adds a copy of a file of the host's, which can be executed.
func (a *archive) addFile(path, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	a.add(path, executable, b)
	return nil
}

// bytes returns the finished archive.
func (a *archive) bytes() []byte {
	a.add("TRAILER!!!", 0, nil)
	return a.buf.Bytes()
}
