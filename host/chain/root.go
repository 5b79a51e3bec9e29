package chain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A root is a folder in which, and below which, names may lead to files.
type root struct {
	fd int // O_PATH
	// real is its absolute path without symbolic links; "" when it has none that
	// this process could use.
	real string
	// given is the absolute path by which it was opened, "" when none is known.
	given string
}

// newRoot makes a root of an open folder.
func newRoot(fd int) *root {
	r := &root{fd: fd}
	if path, err := os.Readlink(procPath(fd)); err == nil && filepath.IsAbs(path) {
		r.real = path
	}
	return r
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
	r := newRoot(fd)
	// filepath.Abs knows no links, and so not where ".." leads to.
	if given, err := filepath.Abs(path); err == nil && !slices.Contains(strings.Split(path, "/"), "..") {
		r.given = given
	}
	return r, nil
}

// openRoots opens the folders that a policy allows. Those that do not exist
// are left out.
func openRoots(paths []string) ([]*root, error) {
	var roots []*root
	for _, path := range paths {
		r, err := openRoot(path)
		switch {
		case errors.Is(err, unix.ENOENT):
		case err != nil:
			closeRoots(roots)
			return nil, fmt.Errorf("Could not open the allowed folder '%s': %w", shown(path), worded(err))
		default:
			roots = append(roots, r)
		}
	}
	return roots, nil
}

func closeRoots(roots []*root) {
	for _, r := range roots {
		r.close()
	}
}

func (r *root) close() { unix.Close(r.fd) }

// openBeneath opens (O_PATH) what path leads to from r, after every symbolic
// link. The kernel sees to it that no step leaves r: EXDEV.
func (r *root) openBeneath(path string) (int, error) {
	return unix.Openat2(r.fd, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// within returns the path from dir, if path begins with it as text. Both are
// absolute; dir is clean, or "", which nothing begins with.
func within(path, dir string) (string, bool) {
	if dir == "" {
		return "", false
	}
	for dir = dir[1:]; dir != ""; {
		var want, got string
		want, dir, _ = strings.Cut(dir, "/")
		got, path, _ = strings.Cut(trimDots(path), "/")
		if got != want {
			return "", false
		}
	}
	if path = trimDots(path); path == "" {
		path = "."
	}
	return path, true
}

// trimDots cuts off what leads nowhere from the beginning of a path: slashes,
// and "." as a component.
func trimDots(path string) string {
	for {
		path = strings.TrimLeft(path, "/")
		if !strings.HasPrefix(path, "./") {
			return path
		}
		path = path[1:]
	}
}

// climb goes from base, an absolute path without symbolic links, up the
// leading ".." of path, and appends the rest.
func climb(base, path string) string {
	for {
		first, rest, more := strings.Cut(path, "/")
		switch first {
		case "..":
			base = filepath.Dir(base)
		case ".", "":
		default:
			return strings.TrimSuffix(base, "/") + "/" + path
		}
		if !more {
			return base
		}
		path = rest
	}
}
