package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sharing is a file system whose files can share their extents, with the inputs
// that its rows need; or why there is none.
type sharing struct {
	dir     string
	note    string
	missing string
	image   string
}

// newSharing makes an XFS in a file and mounts it, which takes root and a loop
// device.
func newSharing(o options) *sharing {
	s := &sharing{dir: filepath.Join(o.data, "shared"), image: filepath.Join(o.data, "shared.img")}
	if err := s.make(o); err != nil {
		s.close()
		first, _, _ := strings.Cut(err.Error(), "\n")
		s.missing = "no file system with reflink could be made here: " + first
	}
	return s
}

func (s *sharing) make(o options) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(s.image)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(max(4*o.size, 1<<30)), f.Close())
	if err != nil {
		return err
	}
	if err := command(o.data, tool("mkfs.xfs"), "-q", "-f", "-m", "reflink=1", s.image); err == nil {
		s.note = "XFS"
	} else if other := command(o.data, tool("mkfs.btrfs"), "-q", "-f", s.image); other == nil {
		s.note = "btrfs"
	} else {
		return err
	}
	if err := command(o.data, "mount", "-o", "loop", s.image, s.dir); err != nil {
		// The kernel may have the one and not the other.
		if s.note == "btrfs" || command(o.data, tool("mkfs.btrfs"), "-q", "-f", s.image) != nil {
			return err
		}
		s.note = "btrfs"
		if err := command(o.data, "mount", "-o", "loop", s.image, s.dir); err != nil {
			return err
		}
	}
	s.note += " in a file behind a loop device"
	for _, name := range []string{rawImage, qcow2Image} {
		if err := command(o.data, "cp", "--reflink=never", name, s.dir); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *sharing) close() {
	_ = exec.Command("umount", s.dir).Run() // it may not be mounted
	_ = os.Remove(s.dir)
	_ = os.Remove(s.image)
}

// tool returns the path of an administrator's program.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}
