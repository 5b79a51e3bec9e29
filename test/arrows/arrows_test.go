// Package arrows holds the module to the arrows of docs/architecture.md: what
// each room may import, directly or through others.
package arrows

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what go list says about a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// A room is a folder and everything below it.
type room struct {
	path  string
	may   []string // rooms of the module that it may reach, directly or through others
	never []string // other packages that it may not import directly
}

// rooms hold the rules; for a package the first room that it is in counts.
var rooms = []room{
	{path: "instar/cmd", may: []string{"instar"}},
	{path: "instar/host", may: []string{"instar/host", "instar/job", "instar/dd", "instar/internal"}},
	{path: "instar/guest", may: []string{"instar/guest", "instar/job", "instar/convert", "instar/disk", "instar/dd", "instar/internal"}, never: []string{"net", "os/exec"}},
	{path: "instar/job", may: []string{"instar/job", "instar/dd", "instar/internal"}, never: []string{"os/exec"}},
	{path: "instar/convert", may: []string{"instar/convert", "instar/disk", "instar/dd", "instar/internal"}, never: []string{"net", "os/exec"}},
	{path: "instar/disk/all", may: []string{"instar/disk", "instar/internal"}, never: opening},
	{path: "instar/disk/disktest", may: []string{"instar/disk", "instar/internal"}},
	{path: "instar/disk", may: []string{"instar/disk", "instar/internal"}, never: opening},
	{path: "instar/dd", may: []string{"instar/dd", "instar/internal"}, never: opening},
	{path: "instar/internal", may: []string{"instar/internal"}},
}

// opening are the packages that can open a file by its name, or more.
var opening = []string{"os", "os/exec", "io/ioutil", "net", "path/filepath", "syscall", "golang.org/x/sys/unix"}

// proofs are the folders of tests and tools, which may reach anything.
var proofs = []string{"instar/test", "instar/bench"}

// shared are the packages under disk/ that are no format.
var shared = []string{"instar/disk/all", "instar/disk/disktest", "instar/disk/internal"}

func TestPackagesImportOnlyAlongTheArrows(t *testing.T) {
	for _, p := range packages(t) {
		if within(p.ImportPath, proofs) {
			continue
		}
		i := slices.IndexFunc(rooms, func(r room) bool { return within(p.ImportPath, []string{r.path}) })
		if i < 0 {
			t.Errorf("%s is in no room: docs/architecture.md has no place for it", p.ImportPath)
			continue
		}
		for _, dep := range p.Deps {
			if within(dep, []string{"instar"}) && !within(dep, rooms[i].may) {
				t.Errorf("%s reaches %s; a package in %s may not", p.ImportPath, dep, rooms[i].path)
			}
		}
		for _, dep := range p.Imports {
			if slices.Contains(rooms[i].never, dep) {
				t.Errorf("%s imports %s; a package in %s may not", p.ImportPath, dep, rooms[i].path)
			}
		}
	}
}

func TestHostReachesNothingThatParses(t *testing.T) {
	seen := false
	for _, p := range packages(t) {
		if !within(p.ImportPath, []string{"instar/host"}) {
			continue
		}
		seen = true
		for _, dep := range p.Deps {
			if within(dep, []string{"instar/guest", "instar/convert", "instar/disk"}) {
				t.Errorf("%s reaches %s: the host would parse images", p.ImportPath, dep)
			}
		}
	}
	if !seen {
		t.Fatal("there is no package under host")
	}
}

func TestOneFormatDoesNotReachAnother(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.ImportPath, []string{"instar/disk"}) || p.ImportPath == "instar/disk" || within(p.ImportPath, shared) {
			continue
		}
		for _, dep := range p.Imports {
			if within(dep, []string{"instar/disk"}) && dep != "instar/disk" && !within(dep, []string{p.ImportPath, "instar/disk/internal"}) {
				t.Errorf("%s imports %s: formats share only what is in disk and disk/internal", p.ImportPath, dep)
			}
		}
	}
}

func TestOnlyTheGuestTakesInEveryFormat(t *testing.T) {
	for _, p := range packages(t) {
		if within(p.ImportPath, proofs) || p.ImportPath == "instar/guest" {
			continue
		}
		if slices.Contains(p.Imports, "instar/disk/all") {
			t.Errorf("%s imports disk/all; only guest may", p.ImportPath)
		}
	}
}

// within reports whether the package is one of the folders or below one.
func within(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return path == folder || strings.HasPrefix(path, folder+"/")
	})
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "instar/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestUnsafeCodeIsInFilesNamedForIt(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_unsafe.go"), strings.HasSuffix(path, "_unsafe_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			if spec.Path.Value == `"unsafe"` {
				t.Errorf("%s imports unsafe: only files named *_unsafe.go and *_unsafe_test.go may", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
