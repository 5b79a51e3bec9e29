package chain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/safetext"
	"instar/job"
)

// maxName bounds a name in an image, in bytes (PATH_MAX of Linux).
const maxName = 4095

// A gate opens what one image names, if the policy lets it.
type gate struct {
	dir   string // the folder of the image, as it was named; ends in a slash, or ""
	own   *root  // the same, open; nil when the policy withdraws it
	roots []*root
}

// newGate returns the gate of the image of that name.
func newGate(image string, p Policy) (*gate, error) {
	g := new(gate)
	g.dir, _ = filepath.Split(image)
	if !p.DenyImageDir {
		own, err := openRoot(g.dir)
		if err != nil {
			return nil, err
		}
		g.own, g.roots = own, append(g.roots, own)
	}
	for _, path := range p.AllowPaths {
		r, err := openRoot(path)
		if err != nil {
			g.close()
			return nil, fmt.Errorf("--allow-path '%s': %w", path, worded(err))
		}
		g.roots = append(g.roots, r)
	}
	return g, nil
}

func (g *gate) close() {
	for _, r := range g.roots {
		r.dir.Close()
	}
}

// candidates returns the names to try for a reference. qemu takes the name of
// a data file from the working directory; here it may be beside the image too.
func candidates(ref *job.Reference) []string {
	if ref.Kind != job.DataFile || len(ref.Names) == 0 || filepath.IsAbs(ref.Names[0]) {
		return ref.Names
	}
	wd, err := os.Getwd()
	if err != nil {
		return ref.Names
	}
	return append([]string{wd + "/" + ref.Names[0]}, ref.Names...)
}

// open opens the regular file that the image calls name, and returns how to
// show it.
func (g *gate) open(name string, kind string) (*os.File, string, error) {
	if err := checkName(name, kind); err != nil {
		return nil, "", err
	}
	shown := name
	if !filepath.IsAbs(name) {
		shown = g.dir + name
	}
	f, err := g.resolve(name)
	switch {
	case errors.Is(err, errOutside):
		return nil, "", &RefusedError{
			Name: name,
			Why:  fmt.Sprintf("'%s' is outside the folders in which images may name files (see --allow-path)", safetext.Escape(name)),
		}
	case errors.Is(err, errNotRegular):
		return nil, "", notRegular(shown)
	case err != nil:
		return nil, "", couldNotOpen(shown, worded(err))
	}
	return f, shown, nil
}

// checkName refuses what is no name of a local file.
func checkName(name string, kind string) error {
	refuse := func(why string) error { return &RefusedError{Name: name, Why: why} }
	switch {
	case name == "":
		return refuse("the name of the " + kind + " is empty")
	case len(name) > maxName:
		return refuse("the name of the " + kind + " is too long")
	case strings.ContainsRune(name, 0):
		return refuse("the name of the " + kind + " has a zero byte in it")
	}
	// The names of backing files only are more than names to qemu.
	if protocol, ok := localfile.Protocol(name); ok && kind == job.BackingFile {
		return refuse(fmt.Sprintf("'%s' names the protocol '%s', and an image may name local files only",
			safetext.Escape(safetext.Limit(name, 256)), safetext.Escape(safetext.Limit(protocol, 64))))
	}
	return nil
}

var (
	errOutside    = errors.New("outside the allowed folders")
	errNotRegular = errors.New("not a regular file")
)

// resolve opens the regular file that name leads to, errOutside if it leads
// out of the roots.
func (g *gate) resolve(name string) (*os.File, error) {
	r, rest, err := g.begin(name)
	if err != nil {
		return nil, err
	}
	fd, err := r.openBeneath(rest)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAGAIN) {
		fd, err = g.walk(r, rest)
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return openRegular(fd, name)
}

// openRegular opens for reading what fd (O_PATH) stands for, if that is a
// regular file: nothing else is opened at all.
func openRegular(fd int, name string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errNotRegular
	}
	opened, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(opened), name), nil
}
