package output

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxScan bounds how much of a folder is looked through for leftovers.
const maxScan = 1 << 16

// removeLeftovers removes the temporary files that killed runs left in dir. It
// is a courtesy: what cannot be read or removed stays.
func removeLeftovers(dir *os.File, prefix string) {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(fd), dir.Name())
	defer list.Close()
	for seen := 0; seen < maxScan; {
		names, err := list.Readdirnames(1024)
		for _, name := range names {
			if random, ok := strings.CutPrefix(name, prefix); ok && isRandom(random) {
				removeLeftover(fd, name)
			}
		}
		seen += len(names)
		if err != nil {
			return
		}
	}
}

// isRandom reports whether s can be the end of a temporary file's name: lower
// case base32.
func isRandom(s string) bool {
	return len(s) == tempRandom && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// removeLeftover removes a temporary file of ours that nobody writes any more.
func removeLeftover(dir int, name string) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return
	}
	if lockTemp(dir, fd, name) {
		unix.Unlinkat(dir, name, 0)
	}
}

// lockTemp takes the lock that says that a temporary file is in use, and
// reports whether it could and the name is still that of the file. Both the
// writer of a file and whoever would remove it do so: the one that comes first
// has it. Where there are no locks it succeeds for the writer.
func lockTemp(dir, fd int, name string) bool {
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return false
	}
	var ours, there unix.Stat_t
	return unix.Fstat(fd, &ours) == nil &&
		unix.Fstatat(dir, name, &there, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		sameFile(&ours, &there)
}
