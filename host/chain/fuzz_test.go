package chain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"instar/job"
)

// FuzzResolve has an image name whatever the fuzzer likes, with a link to
// whatever it likes beside it: a file that is found is inside.
func FuzzResolve(f *testing.F) {
	for _, seed := range [][2]string{
		{"base", ""},
		{"link", "base"},
		{"link", "../secret"},
		{"link/base", "sub"},
		{"link/../base", "../golden"},
		{"link/passwd", "/etc"},
		{"link", "/proc/self/root/etc/passwd"},
		{"sub/../../secret", "x"},
		{"../golden/../secret", "x"},
		{"../golden/base", "x"},
		{"link/../../golden/base", "sub/deep"},
		{"link", "link"},
		{"nbd:x", "x"},
		{"a\x00b", "x"},
		{"//etc/passwd", "x"},
		{"", "x"},
	} {
		f.Add(seed[0], seed[1])
	}
	w := world{f, resolved(f, f.TempDir())}
	for _, name := range []string{"images/base", "images/sub/deep/base", "golden/base", "golden/sub/base", "secret"} {
		w.file(name, name)
	}
	images, golden := w.dir+"/images", w.dir+"/golden"
	link := images + "/link"
	g := openGate(f, images+"/top", Policy{AllowPaths: []string{golden}})
	inside := func(path string) bool {
		return strings.HasPrefix(path, images+"/") || strings.HasPrefix(path, golden+"/")
	}
	f.Fuzz(func(t *testing.T, name, to string) {
		os.Remove(link)
		os.Symlink(to, link)
		for _, kind := range []string{job.BackingFile, job.ExtentFile} {
			found, err := g.locate(&job.Reference{Kind: kind, Names: []string{name}})
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("%q is not fit to be shown", err)
				}
				continue
			}
			if path, err := os.Readlink(procPath(found.fd)); err != nil || !inside(path) {
				t.Errorf("%q with a link to %q leads to %q, %v", name, to, path, err)
			}
			folder, err := found.folder()
			if err != nil {
				t.Errorf("%q was found, and its folder was not: %v", name, err)
			} else {
				if path := folder.real; !inside(path + "/") {
					t.Errorf("%q with a link to %q is in %q", name, to, path)
				}
				folder.close()
			}
			found.close()
		}
		if filepath.IsAbs(name) || strings.ContainsRune(name, 0) || name == "" {
			return
		}
		if fd, err := g.walk(g.own, name); err == nil {
			if path, err := os.Readlink(procPath(fd)); err != nil || !inside(path+"/") {
				t.Errorf("%q with a link to %q walks to %q, %v", name, to, path, err)
			}
			unix.Close(fd)
		}
	})
}
