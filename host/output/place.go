package output

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A place is a name in an open folder.
type place struct {
	dir  *os.File // O_PATH
	base string
}

// findPlace returns where path leads to, after every symbolic link. There need
// not be anything.
func findPlace(path string) (place, error) {
	at, current := unix.AT_FDCWD, (*os.File)(nil)
	for range maxLinks {
		dir, base := filepath.Split(path)
		if dir == "" {
			dir = "."
		}
		fd, err := unix.Openat(at, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if current != nil {
			current.Close()
		}
		if err != nil {
			return place{}, err
		}
		current, at = os.NewFile(uintptr(fd), dir), fd
		path, err = readLink(fd, base)
		if err != nil {
			current.Close()
			return place{}, err
		}
		if path == "" {
			return place{dir: current, base: base}, nil
		}
	}
	current.Close()
	return place{}, unix.ELOOP
}

// maxLinks is how many symbolic links are followed, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// errMagicLink says that a name in /proc stands for an open file (proc_pid_fd(5)),
// as /dev/stdout does, and not for another name.
var errMagicLink = errors.New("a link to an open file")

// readLink returns what the symbolic link base in dir leads to, "" if it is no
// link. Whatever fs.protected_symlinks says, one that somebody else put into a
// folder for all (proc_sys_fs(5)) is not followed.
func readLink(dir int, base string) (string, error) {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) && base != "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var link, folder unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &link), unix.Fstat(dir, &folder)); err != nil {
		return "", err
	}
	if link.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	var system unix.Statfs_t
	if unix.Fstatfs(fd, &system) == nil && system.Type == unix.PROC_SUPER_MAGIC {
		return "", errMagicLink
	}
	const forAll = unix.S_ISVTX | unix.S_IWOTH
	if folder.Mode&forAll == forAll && int(link.Uid) != os.Geteuid() && link.Uid != folder.Uid {
		return "", unix.EACCES
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:n]), err
}

// stat describes what is there now, a symbolic link as such.
func (p place) stat() (st unix.Stat_t, err error) {
	err = unix.Fstatat(p.fd(), p.base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// open makes a file called name in the folder. There must be none.
func (p place) open(name string, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(p.fd(), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (p place) fd() int { return int(p.dir.Fd()) }

// isMount reports whether f, which is in the folder of p, is mounted there, as
// container runtimes do with single files: it cannot be replaced.
func (p place) isMount(f *os.File) bool {
	of, err1 := mountOf(int(f.Fd()))
	in, err2 := mountOf(p.fd())
	return err1 == nil && err2 == nil && of != in
}

// mountOf returns the number of the mount that fd is on (Linux 5.8).
func mountOf(fd int) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, unix.ENOSYS
	}
	return st.Mnt_id, nil
}
