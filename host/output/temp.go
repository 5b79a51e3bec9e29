package output

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
)

const (
	tempMark   = ".instar-"
	tempRandom = 10  // characters after the mark
	maxName    = 255 // NAME_MAX of Linux
)

// tempPrefix is what the names of all temporary files of base begin with.
func tempPrefix(base string) string {
	return "." + base[:min(len(base), maxName-1-len(tempMark)-tempRandom)] + tempMark
}

// openTemp has f be a temporary file beside its name, and removes those that killed
// runs left there. A lock (flock), which lasts until this process has gone, says
// that it is in use.
func (f *File) openTemp(mode uint32) error {
	prefix := tempPrefix(f.base)
	removeLeftovers(f.place, prefix)
	for range 100 {
		name := prefix + tempEnd()
		temp, err := f.open(name, mode)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return err
		}
		inUse := ownDescription(temp)
		// Another run may have taken the file for a leftover before it was
		// locked. Where there are no locks, nobody removes anything.
		err = lockTemp(inUse)
		if !errors.Is(err, unix.EWOULDBLOCK) && isNamed(f.place, name, temp) {
			f.file, f.temp, f.inUse = temp, name, inUse
			return nil
		}
		if err == nil { // it is ours, although its name may not be to be told
			unix.Unlinkat(f.fd(), name, 0)
		}
		temp.Close()
		inUse.Close()
	}
	return unix.EEXIST
}

// ownDescription opens f once more, for a lock that ends with this process: a worker
// has the description that f stands for as well, and is not gone at once when this
// process is killed. Where it cannot be, it is f.
func ownDescription(f *os.File) *os.File {
	if own, err := localfile.Reopen(f, unix.O_RDONLY); err == nil {
		return own
	}
	return f
}

func tempEnd() string { return strings.ToLower(rand.Text()[:tempRandom]) }

func lockTemp(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// isNamed reports whether name, in the folder of p, is f.
func isNamed(p place, name string, f *os.File) bool {
	var ours unix.Stat_t
	there, err := place{dir: p.dir, base: name}.stat()
	return err == nil && unix.Fstat(int(f.Fd()), &ours) == nil && sameFile(&ours, &there)
}

// maxScan bounds how many names of a folder are looked at for leftovers.
const maxScan = 1 << 16

// removeLeftovers is a courtesy: what cannot be read or removed stays.
func removeLeftovers(p place, prefix string) {
	fd, err := unix.Openat(p.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(fd), p.dir.Name())
	defer list.Close()
	for seen := 0; seen < maxScan; {
		names, err := list.Readdirnames(1024)
		for _, name := range names {
			if random, ok := strings.CutPrefix(name, prefix); ok && isRandom(random) {
				removeLeftover(p, name)
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
func removeLeftover(p place, name string) {
	fd, err := unix.Openat(p.fd(), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return
	}
	if lockTemp(f) == nil && isNamed(p, name, f) {
		unix.Unlinkat(p.fd(), name, 0)
	}
}
