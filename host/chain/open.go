package chain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
)

// openTop opens the image that the user named, with qemu's texts where that
// fails. A pipe, which qemu would wait for without end, is refused.
func openTop(name string) (*Layer, error) {
	path, err := localfile.Path(name)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, errors.New("The 'file' block driver requires a file name")
	}
	// O_NONBLOCK keeps the opening of a pipe, or of a drive without a medium,
	// from waiting. It means nothing to what is accepted below.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, couldNotOpen(path, err)
	}
	l := &Layer{Name: path, File: os.NewFile(uintptr(fd), path)}
	if err := l.checkTop(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Layer) checkTop() error {
	var st unix.Stat_t
	err := unix.Fstat(int(l.File.Fd()), &st)
	if err != nil {
		return couldNotOpen(l.Name, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFCHR:
	case unix.S_IFIFO:
		return fmt.Errorf("'%s' is a pipe: an image must be a file that can be read at any place", shown(l.Name))
	default:
		return notRegular(l.Name)
	}
	folder, _ := filepath.Split(l.Name)
	if l.dir, err = openRoot(folder); err != nil {
		return couldNotOpen(l.Name, err)
	}
	return nil
}

// fileID is what makes two descriptors those of one file.
type fileID struct{ dev, ino uint64 }

func identify(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, err
	}
	return fileID{uint64(st.Dev), st.Ino}, nil
}
