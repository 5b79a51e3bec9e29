package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leaveFiles puts the worker into an empty file system that cannot be written
// to, if it has a mount namespace.
func leaveFiles(o order) error {
	if o.Spaces&unix.CLONE_NEWNS == 0 {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := mountEmpty(); err != nil {
		return err
	}
	// Both at once: the old root ends up on top of the new one, and goes.
	// The first file system of a machine (rootfs) cannot be left this way.
	if err := unix.PivotRoot(".", "."); err != nil {
		return unix.Chroot(".")
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

// mountEmpty mounts an empty file system where there is a folder for it, and
// goes there.
func mountEmpty() (err error) {
	for _, folder := range []string{"/proc", "/dev", "/sys", "/tmp", "/usr"} {
		if err = unix.Mount("instar", folder, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,nr_inodes=2,mode=0555"); err == nil {
			return unix.Chdir(folder)
		}
	}
	return fmt.Errorf("mount an empty file system: %w", err)
}
