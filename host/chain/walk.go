package chain

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links are followed, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// walk does what openBeneath does without the kernel's help, one component at
// a time, and follows links from one root to another.
func (g *gate) walk(r *root, rest string) (int, error) {
	w := &walk{gate: g}
	defer w.leave()
	if err := w.enter(r, rest); err != nil {
		return -1, err
	}
	return w.run()
}

// A walk is on its way through a root. It holds every folder between the root
// and where it is, so that ".." needs no look at the file system.
type walk struct {
	gate  *gate
	root  *root
	dirs  []int    // open folders below the root; the last is where it is
	names []string // what they are called
	left  []string // components still to go
	links int
}

// enter begins anew in r.
func (w *walk) enter(r *root, rest string) error {
	w.leave()
	w.root = r
	w.left = strings.Split(rest, "/")
	return nil
}

// leave closes the folders.
func (w *walk) leave() {
	for _, fd := range w.dirs {
		unix.Close(fd)
	}
	w.dirs, w.names = w.dirs[:0], w.names[:0]
}

func (w *walk) here() int {
	if len(w.dirs) == 0 {
		return int(w.root.dir.Fd())
	}
	return w.dirs[len(w.dirs)-1]
}

// run goes to the end and returns what is there.
func (w *walk) run() (int, error) {
	for len(w.left) > 0 {
		name := w.left[0]
		w.left = w.left[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if err := w.up(); err != nil {
				return -1, err
			}
			continue
		}
		fd, err := unix.Openat(w.here(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		if done, err := w.step(fd, name); done || err != nil {
			return fd, err
		}
	}
	// A path that ends in a folder.
	return unix.Openat(w.here(), ".", unix.O_PATH|unix.O_CLOEXEC, 0)
}

// step goes to fd, a component called name, which it owns unless it is done
// without an error: fd then is the end of the walk.
func (w *walk) step(fd int, name string) (done bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return false, err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		defer unix.Close(fd)
		return false, w.follow(fd)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		w.dirs, w.names = append(w.dirs, fd), append(w.names, name)
		return false, nil
	case len(w.left) > 0:
		unix.Close(fd)
		return false, unix.ENOTDIR
	}
	return true, nil
}

// up goes to the folder above, in another root if it must be.
func (w *walk) up() error {
	if n := len(w.dirs); n > 0 {
		unix.Close(w.dirs[n-1])
		w.dirs, w.names = w.dirs[:n-1], w.names[:n-1]
		return nil
	}
	rest := strings.Join(w.left, "/")
	r, rest, err := w.gate.find(climb(filepath.Dir(w.root.paths[0]), rest))
	if err != nil {
		return err
	}
	return w.enter(r, rest)
}

// follow goes where the symbolic link fd leads.
func (w *walk) follow(fd int) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return err
	}
	target := string(buf[:n])
	if !filepath.IsAbs(target) {
		w.left = append(strings.Split(target, "/"), w.left...)
		return nil
	}
	r, rest, err := w.gate.find(strings.Join(append([]string{target}, w.left...), "/"))
	if err != nil {
		return err
	}
	return w.enter(r, rest)
}
