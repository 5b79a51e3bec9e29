package chain

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// walk does what openBeneath does, one component at a time, and goes on from
// one root to another where a link or ".." leads there.
func (g *gate) walk(r *root, path string) (int, error) {
	w := &walk{gate: g}
	defer w.leave()
	w.enter(r, path)
	return w.run()
}

// A walk is on its way through a root. It keeps every folder between the root
// and where it is open, so that ".." needs no look at the file system.
type walk struct {
	gate  *gate
	root  *root
	dirs  []int    // the folders below root that it is in
	left  []string // components still to go
	links int
}

// enter has the walk begin anew in r.
func (w *walk) enter(r *root, path string) {
	w.leave()
	w.root, w.left = r, strings.Split(path, "/")
}

// leave closes the folders.
func (w *walk) leave() {
	for _, fd := range w.dirs {
		unix.Close(fd)
	}
	w.dirs = nil
}

func (w *walk) here() int {
	if n := len(w.dirs); n > 0 {
		return w.dirs[n-1]
	}
	return w.root.fd
}

// run goes to the end and opens (O_PATH) what is there.
func (w *walk) run() (int, error) {
	for len(w.left) > 0 {
		name := w.left[0]
		w.left = w.left[1:]
		var err error
		switch name {
		case "", ".":
		case "..":
			err = w.up()
		default:
			fd, err := w.step(name)
			if fd >= 0 || err != nil {
				return fd, err
			}
		}
		if err != nil {
			return -1, err
		}
	}
	return unix.Openat(w.here(), ".", unix.O_PATH|unix.O_CLOEXEC, 0)
}

// step goes to what is called name here. If that is the end, and no folder, it
// returns it open, else -1.
func (w *walk) step(name string) (int, error) {
	fd, err := unix.Openat(w.here(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			w.dirs = append(w.dirs, fd)
			return -1, nil
		case unix.S_IFLNK:
			err = w.follow(fd)
		default:
			if len(w.left) == 0 {
				return fd, nil
			}
			err = unix.ENOTDIR
		}
	}
	unix.Close(fd)
	return -1, err
}

// up goes to the folder above, in another root if it leads out of this one.
func (w *walk) up() error {
	if n := len(w.dirs); n > 0 {
		unix.Close(w.dirs[n-1])
		w.dirs = w.dirs[:n-1]
		return nil
	}
	return w.jump(w.gate.findFrom(w.root, "../"+strings.Join(w.left, "/")))
}

// follow goes on where the symbolic link fd leads.
func (w *walk) follow(fd int) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return err
	}
	path := string(buf[:n])
	if len(w.left) > 0 {
		path += "/" + strings.Join(w.left, "/")
	}
	if filepath.IsAbs(path) {
		return w.jump(w.gate.find(path))
	}
	w.left = strings.Split(path, "/")
	return nil
}

// jump goes on from another root, as find returned it.
func (w *walk) jump(r *root, path string, err error) error {
	if err == nil {
		w.enter(r, path)
	}
	return err
}
