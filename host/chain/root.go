package chain

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A root is a folder in which, and below which, names may lead to files.
type root struct {
	dir *os.File // O_PATH
	// paths are the absolute paths by which names may mean it: the one that
	// was given, made absolute, and the one without symbolic links.
	paths []string
}

// openRoot opens the folder of that path; "" is the working directory.
func openRoot(path string) (*root, error) {
	if path == "" {
		path = "."
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r := &root{dir: os.NewFile(uintptr(fd), path)}
	if real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && filepath.IsAbs(real) {
		r.paths = append(r.paths, real)
	}
	if given, err := filepath.Abs(path); err == nil {
		r.paths = append(r.paths, given)
	}
	return r, nil
}

// openBeneath opens (O_PATH) what rest leads to from r, after every symbolic
// link; the kernel sees to it that no step leaves r (EXDEV).
func (r *root) openBeneath(rest string) (int, error) {
	return unix.Openat2(int(r.dir.Fd()), rest, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// begin returns the root that name begins in and what is left of it there. A
// relative name begins in the folder of the image; its leading ".." lead from
// there to other roots only.
func (g *gate) begin(name string) (*root, string, error) {
	if filepath.IsAbs(name) {
		return g.find(name)
	}
	if g.own == nil || strings.HasPrefix(name, "../") || name == ".." {
		base, err := realDir(g.dir)
		if err != nil {
			return nil, "", errOutside
		}
		return g.find(climb(base, name))
	}
	return g.own, name, nil
}

// find returns the root that the absolute path is in, the innermost one, and
// the path from there.
func (g *gate) find(path string) (*root, string, error) {
	var best *root
	var rest string
	length := -1
	for _, r := range g.roots {
		for _, p := range r.paths {
			if tail, ok := within(path, p); ok && len(p) > length {
				best, rest, length = r, tail, len(p)
			}
		}
	}
	if best == nil {
		return nil, "", errOutside
	}
	return best, rest, nil
}

// within returns the path from dir, both absolute, if path textually begins
// with it.
func within(path, dir string) (string, bool) {
	tail, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/"))
	if !ok || !strings.HasPrefix(tail, "/") {
		return "", false
	}
	tail = strings.TrimLeft(tail, "/")
	return tail, tail != ""
}

// climb applies the leading ".." of name to base, a path without symbolic
// links, and appends the rest.
func climb(base, name string) string {
	for {
		switch {
		case strings.HasPrefix(name, "../"):
			base, name = filepath.Dir(base), strings.TrimLeft(name[3:], "/")
		case strings.HasPrefix(name, "./"):
			name = strings.TrimLeft(name[2:], "/")
		case name == "..":
			return filepath.Dir(base)
		default:
			return strings.TrimSuffix(base, "/") + "/" + name
		}
	}
}

// realDir returns the path of a folder without symbolic links.
func realDir(dir string) (string, error) {
	if dir == "" {
		dir = "."
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}
