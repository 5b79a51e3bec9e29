package chain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/job"
)

// maxName bounds a name in an image, in bytes (PATH_MAX of Linux).
const maxName = 4095

// A gate finds what one image names, if the policy lets it.
type gate struct {
	policy Policy
	image  string  // the name of the image
	own    *root   // the folder of the image
	roots  []*root // where names may lead; own among them unless the policy withdraws it
}

func newGate(l *Layer, p Policy, allowed []*root) *gate {
	g := &gate{policy: p, image: l.Name, own: l.dir}
	if !p.DenyImageDir {
		g.roots = append(g.roots, l.dir)
	}
	g.roots = append(g.roots, allowed...)
	return g
}

// A candidate is one name under which a file may be found.
type candidate struct {
	given string // as the image has it
	from  string // where it is looked for: absolute, or from the image's folder
	name  string // as it is shown
}

// A target is what a candidate leads to: a regular file inside the allowed
// folders, not yet open for reading.
type target struct {
	candidate
	gate *gate
	fd   int // O_PATH
}

// locate finds what ref leads to: the first of its names that leads to a
// regular file. Otherwise the error is about the first that may be followed,
// or a *RefusedError.
func (g *gate) locate(ref *job.Reference) (*target, error) {
	if len(ref.Names) == 0 {
		return nil, refused("", "is no name of a "+ref.Kind)
	}
	if ref.Kind == job.DataFile && !g.policy.AllowDataFile {
		return nil, refused(ref.Names[0], "is a data file, and images may not name any (see --allow-data-file)")
	}
	var first error
	for _, c := range g.candidates(ref) {
		t, err := g.try(c, ref.Kind)
		if err == nil {
			return t, nil
		}
		if first == nil || isRefusal(first) && !isRefusal(err) {
			first = err
		}
	}
	return nil, first
}

func isRefusal(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}

// candidates returns the names to try. To qemu the relative name of a data
// file is one in the working directory; here it may be beside the image, too.
func (g *gate) candidates(ref *job.Reference) []candidate {
	var list []candidate
	for _, name := range ref.Names {
		if filepath.IsAbs(name) {
			list = append(list, candidate{name, name, name})
			continue
		}
		if ref.Kind == job.DataFile {
			if wd, err := os.Readlink("/proc/self/cwd"); err == nil && filepath.IsAbs(wd) {
				list = append(list, candidate{name, climb(wd, name), name})
			}
		}
		list = append(list, candidate{name, name, Combine(g.image, name)})
	}
	return list
}

// Combine returns the name by which qemu-img shows a file that an image names:
// a relative one is joined to the folder of the image.
func Combine(image, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	folder, _ := filepath.Split(image)
	return folder + name
}

// try finds what a candidate leads to.
func (g *gate) try(c candidate, kind string) (*target, error) {
	if err := checkName(c.given, kind); err != nil {
		return nil, err
	}
	fd, err := g.lookup(c.from)
	if err == nil {
		if err = checkRegular(fd); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, c.explain(err)
	}
	return &target{candidate: c, gate: g, fd: fd}, nil
}

// explain words why a candidate leads nowhere.
func (c candidate) explain(err error) error {
	switch err {
	case errOutside:
		return refused(c.given, "is outside the folders in which images may name files (see --allow-path)")
	case errNotRegular:
		return notRegular(c.name)
	}
	return couldNotOpen(c.name, err)
}

// checkName refuses what is no name of a local file.
func checkName(name, kind string) error {
	switch {
	case name == "":
		return refused(name, "is no name of a "+kind)
	case len(name) > maxName:
		return refused(name[:64]+"…", "is too long for the name of a "+kind)
	case strings.ContainsRune(name, 0):
		return refused(name, "cannot be the name of a "+kind)
	}
	// Only the names of backing files are more to qemu than names of files.
	if _, ok := localfile.Protocol(name); ok && kind == job.BackingFile {
		return refused(name, "names a protocol, and images may name local files only")
	}
	return nil
}

var (
	errOutside    = errors.New("outside the allowed folders")
	errNotRegular = errors.New("not a regular file")
)

func checkRegular(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errNotRegular
	}
	return nil
}

func (t *target) close() { unix.Close(t.fd) }

// open opens the target for reading: the very file that was found, whatever
// has happened to its name since.
func (t *target) open() (*os.File, error) {
	fd, err := unix.Open(procPath(t.fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, t.explain(err)
	}
	return os.NewFile(uintptr(fd), t.name), nil
}

// folder opens the folder in which the name of the target is, and from which
// the names in the target go on. It is inside the allowed ones too.
func (t *target) folder() (*root, error) {
	name, _ := filepath.Split(t.from)
	if name == "" {
		name = "."
	}
	fd, err := t.gate.lookup(name)
	if err != nil {
		return nil, t.explain(err)
	}
	return newRoot(fd), nil
}

// procPath is the path of what an open descriptor stands for.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// lookup opens (O_PATH) what name leads to, after every symbolic link, as long
// as no step leaves the roots: otherwise it returns errOutside. What it
// returns depends on nothing outside.
func (g *gate) lookup(name string) (int, error) {
	r, rest, err := g.begin(name)
	if err != nil {
		return -1, err
	}
	fd, err := r.openBeneath(rest)
	switch err {
	case unix.EXDEV, // a step leaves r, perhaps for another root
		unix.EAGAIN,             // something was renamed on the way
		unix.ENOSYS, unix.EPERM: // no such call, or no leave to use it
		return g.walk(r, rest)
	}
	return fd, err
}

// begin returns the root in which name begins, and the path from there.
func (g *gate) begin(name string) (*root, string, error) {
	if filepath.IsAbs(name) {
		return g.find(name)
	}
	climbs := name == ".." || strings.HasPrefix(name, "../")
	if !g.policy.DenyImageDir && !climbs {
		return g.own, name, nil
	}
	return g.findFrom(g.own, name)
}

// findFrom returns the root that a path from the folder r is in, and the path
// from there.
func (g *gate) findFrom(r *root, path string) (*root, string, error) {
	if r.real == "" {
		return nil, "", errOutside
	}
	return g.find(climb(r.real, path))
}

// find returns the innermost root that an absolute path is in by its text, and
// the path from there.
func (g *gate) find(path string) (*root, string, error) {
	var best *root
	var rest string
	longest := -1
	for _, r := range g.roots {
		for _, p := range []string{r.real, r.given} {
			if tail, ok := within(path, p); ok && len(p) > longest {
				best, rest, longest = r, tail, len(p)
			}
		}
	}
	if best == nil {
		return nil, "", errOutside
	}
	return best, rest, nil
}
