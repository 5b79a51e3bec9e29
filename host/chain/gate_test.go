package chain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"instar/job"
)

// openGate returns the gate of an image in the folder dir.
func openGate(t failer, image string, p Policy) *gate {
	t.Helper()
	folder, _ := filepath.Split(image)
	own, err := openRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := openRoots(p.AllowPaths)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		own.close()
		closeRoots(allowed)
	})
	return newGate(&Layer{Name: image, dir: own}, p, allowed)
}

// read returns the content of the file that a name leads to.
func (g *gate) read(name string) (string, error) {
	target, err := g.locate(&job.Reference{Kind: job.ExtentFile, Names: []string{name}})
	if err != nil {
		return "", err
	}
	defer target.close()
	f, err := target.open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return string(text), err
}

// farm makes a folder of an image with hostile links in it, and one beside it.
func farm(t *testing.T) world {
	w := newWorld(t)
	for _, name := range []string{
		"images/base", "images/sub/base", "images/sub/deep/base", "golden/base", "golden/sub/base",
		"secret", "images-too/base", "images/sub/nbd:x",
	} {
		w.file(name, name)
	}
	for name, target := range map[string]string{
		"images/to-base":        "base",
		"images/to-sub":         "sub",
		"images/to-to-base":     "to-sub/../to-base",
		"images/sub/up":         "../base",
		"images/to-secret":      "../secret",
		"images/to-passwd":      "/etc/passwd",
		"images/to-nothing":     "../nothing",
		"images/to-out":         "..",
		"images/to-root":        "/",
		"images/to-proc":        "/proc/self/root/etc/passwd",
		"images/out-and-in":     "../images/base",
		"images/abs-in":         w.dir + "/images/base",
		"images/abs-sub":        w.dir + "/images/sub",
		"images/abs-golden":     w.dir + "/golden/base",
		"images/rel-golden":     "../golden/base",
		"images/dir-golden":     "../golden",
		"images/sub/rel-golden": "../../golden/sub/base",
		"images/dangling":       "nope",
		"images/loop":           "loop",
		"images/loop-a":         "loop-b",
		"images/loop-b":         "loop-a",
		"golden/back":           "../images/base",
		"golden/out":            "../secret",
		"alias":                 "images",
	} {
		w.link(name, target)
	}
	return w
}

func TestWhatNamesLeadTo(t *testing.T) {
	w := farm(t)
	none := Policy{}
	golden := Policy{AllowPaths: []string{"golden"}}
	both := Policy{AllowPaths: []string{w.dir + "/golden", w.dir + "/images/sub/"}}
	only := Policy{DenyImageDir: true, AllowPaths: []string{"golden"}}
	all := Policy{AllowPaths: []string{"/"}}
	const outside, missing = "outside", "No such file or directory"
	for _, test := range []struct {
		policy     Policy
		name, want string
	}{
		{none, "base", "images/base"},
		{none, "./base", "images/base"},
		{none, "sub//base", "images/sub/base"},
		{none, "sub/../base", "images/base"},
		{none, "sub/deep/../../to-base", "images/base"},
		{none, "to-base", "images/base"},
		{none, "to-sub/base", "images/sub/base"},
		{none, "to-to-base", "images/base"},
		{none, "sub/up", "images/base"},
		{none, "sub/nbd:x", "images/sub/nbd:x"},
		{none, w.dir + "/images/base", "images/base"},
		{none, w.dir + "/images/sub/../base", "images/base"},
		{none, "/." + w.dir + "//.///images/.//base", "images/base"},
		{none, w.dir + "/../" + filepath.Base(w.dir) + "/images/base", outside}, // it begins outside

		{none, "nope", missing},
		{none, "sub/nope/base", missing},
		{none, "dangling", missing},
		{none, w.dir + "/images/nope", missing},
		{none, "base/x", "Not a directory"},
		{none, "base/", "Not a directory"},
		{none, "loop", "Too many levels of symbolic links"},
		{none, "loop-a/x", "Too many levels of symbolic links"},
		{none, strings.Repeat("n", 256), "File name too long"},

		{none, "../secret", outside},
		{none, "../nothing", outside},
		{none, "../images-too/base", outside},
		{none, "sub/../../secret", outside},
		{none, "to-secret", outside},
		{none, "to-passwd", outside},
		{none, "to-nothing", outside},
		{none, "to-out/secret", outside},
		{none, "to-root/etc/passwd", outside},
		{none, "to-proc", outside},
		{none, "/etc/passwd", outside},
		{none, "/proc/self/root" + w.dir + "/images/base", outside},
		{none, w.dir + "/images-too/base", outside},
		{none, w.dir + "/alias/base", outside},
		{none, "rel-golden", outside},
		{none, "abs-golden", outside},

		// Out and in again: only what is inside has a say.
		{none, "../images/base", "images/base"},
		{none, "out-and-in", "images/base"},
		{none, "abs-in", "images/base"},
		{none, "abs-sub/base", "images/sub/base"},
		{none, "sub/../../images/base", "images/base"},
		{none, "../alias/base", outside},

		{golden, "../golden/base", "golden/base"},
		{golden, "../golden/sub/../base", "golden/base"},
		{golden, "rel-golden", "golden/base"},
		{golden, "abs-golden", "golden/base"},
		{golden, "dir-golden/sub/base", "golden/sub/base"},
		{golden, "dir-golden/sub/../../images/base", "images/base"},
		{golden, "sub/rel-golden", "golden/sub/base"},
		{golden, w.dir + "/golden/base", "golden/base"},
		{golden, w.dir + "/golden/back", "images/base"},
		{golden, w.dir + "/golden/out", outside},
		{golden, w.dir + "/golden/nope", missing},
		{golden, w.dir + "/golden", "regular file"},
		{golden, "../golden/../secret", outside},
		{both, w.dir + "/golden/base", "golden/base"},
		{both, w.dir + "/images/sub/up", "images/base"},

		{only, "base", outside},
		{only, "nope", outside},
		{only, "../golden/base", "golden/base"},
		{only, "rel-golden", outside}, // the link itself is outside
		{only, w.dir + "/golden/back", outside},

		{all, "to-passwd", "root:"},
		{all, "../secret", "secret"},
		{all, "to-proc", "root:"},
		{all, "/../.." + w.dir + "/secret", "secret"},
	} {
		g := openGate(t, "images/top", test.policy)
		text, err := g.read(test.name)
		if err != nil {
			text = err.Error()
		}
		if text != test.want && !(strings.Contains(text, test.want) && (err != nil || test.want == "root:")) {
			t.Errorf("%+v, %q: got %q, want %q", test.policy, test.name, text, test.want)
		}
		var refusal *RefusedError
		if errors.As(err, &refusal) != (test.want == outside) {
			t.Errorf("%+v, %q: error %T", test.policy, test.name, err)
		}
		if got, want := g.walkTo(test.name), g.lookUp(test.name); got != want {
			t.Errorf("%+v, %q: without openat2 it leads to %s, with it to %s", test.policy, test.name, got, want)
		}
	}
}

// lookUp says what a name leads to.
func (g *gate) lookUp(name string) string { return place(g.lookup(name)) }

// walkTo says the same where the kernel has no openat2.
func (g *gate) walkTo(name string) string {
	r, rest, err := g.begin(name)
	if err != nil {
		return place(-1, err)
	}
	return place(g.walk(r, rest))
}

// place describes, and closes, what a lookup returns.
func place(fd int, err error) string {
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	path, err := os.Readlink(procPath(fd))
	return fmt.Sprint(path, err)
}

// The folder of the image counts by the path it was given, and by its own.
func TestImageBehindLink(t *testing.T) {
	w := farm(t)
	for image, want := range map[string]string{
		"alias/top": "images/base", w.dir + "/alias/top": "images/base",
	} {
		for _, name := range []string{"base", "../images/base", w.dir + "/images/base", w.dir + "/alias/../images/base"} {
			text, err := openGate(t, image, Policy{}).read(name)
			if text != want || err != nil {
				t.Errorf("%s, %q: got %q, %v", image, name, text, err)
			}
		}
	}
	if text, err := openGate(t, w.dir+"/alias/top", Policy{}).read(w.dir + "/alias/base"); text != "images/base" {
		t.Errorf("got %q, %v", text, err)
	}
}

// What an image below may name counts from the folder it is in.
func TestFolderOfBackingFile(t *testing.T) {
	w := newWorld(t)
	w.image("a/top", backing("sub/mid"))
	w.image("a/sub/mid", backing("base"))
	w.image("a/sub/base")
	w.image("a/up", backing("sub/climbs"))
	w.image("a/sub/climbs", backing("../base"))
	w.image("a/base")
	w.image("a/wide", backing("../b/mid"))
	w.image("b/mid", backing("base"))
	w.image("b/base")
	w.image("a/linked", backing("link/mid"))
	w.link("a/link", "../b")
	w.image("a/jump", backing("elsewhere"))
	w.link("a/elsewhere", "../b/mid")
	b := Policy{AllowPaths: []string{"b"}}
	for _, test := range []struct {
		policy    Policy
		top, want string
	}{
		{Policy{}, "a/top", "a/top a/sub/mid a/sub/base"},
		{Policy{}, "a/up", "'../base' is outside"},
		{b, "a/wide", "a/wide a/../b/mid a/../b/base"},
		{b, "a/linked", "a/linked a/link/mid a/link/base"},
		// The name counts, and not what it links to, as in qemu: a/base.
		{b, "a/jump", "a/jump a/elsewhere a/base"},
	} {
		c, err := discover(t, new(fake), test.top, Options{Policy: test.policy})
		if err != nil {
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", test.top, err)
			}
		} else if names(c) != test.want {
			t.Errorf("%s: got %s", test.top, names(c))
		}
	}
}

// A refusal is the same, letter by letter, whether there is a file or not, and
// whatever it is.
func TestRefusalsTellNothing(t *testing.T) {
	w := newWorld(t)
	w.image("images/deep", backing("sub/mid"))
	outside := filepath.Join(w.dir, "outside")
	w.link("images/link", "../outside/x")
	w.link("images/abs", outside+"/x")
	w.link("images/dir", "../outside")
	states := map[string]func(){
		"nothing":          func() {},
		"a folder":         func() { w.check(os.Mkdir(outside, 0o755)) },
		"a file":           func() { w.file("outside/x", "x") },
		"a folder too far": func() { w.check(os.MkdirAll(outside+"/x", 0o755)) },
		"a pipe":           func() { w.check(os.Mkdir(outside, 0o755)); w.check(unix.Mkfifo(outside+"/x", 0o644)) },
		"a link":           func() { w.link("outside/x", "../images/deep") },
		"a loop":           func() { w.link("outside/x", "x") },
		"a way back":       func() { w.link("outside", "images"); w.file("images/x", "") },
		"a closed folder":  func() { w.check(os.Mkdir(outside, 0)) },
	}
	names := []string{
		"../outside/x", "sub/../../outside/x", outside + "/x", outside + "/../images/x", outside,
		"link", "abs", "dir/x", "dir/../images/x", "dir", "../outside/../images/x",
	}
	w.check(os.Mkdir("images/sub", 0o755))
	for _, ref := range []func(string) job.Reference{func(n string) job.Reference { return backing(n) }, extent, dataFile} {
		for _, name := range names {
			said := make(map[string]string)
			for state, set := range states {
				set()
				w.image("images/top", ref(name))
				_, err := discover(t, new(fake), "images/top", Options{Policy: Policy{AllowDataFile: true}})
				said[fmt.Sprint(err)] = state
				w.check(os.RemoveAll(outside))
				os.Remove("images/x")
			}
			if len(said) != 1 {
				t.Errorf("%s %q: %q", ref(name).Kind, name, said)
			}
			for text := range said {
				if !strings.Contains(text, "is outside the folders in which images may name files (see --allow-path)") {
					t.Errorf("%s %q: %s", ref(name).Kind, name, text)
				}
			}
		}
	}
}

// Both ways to resolve a name see the same, on any farm of links.
func TestKernelAndWalkAgree(t *testing.T) {
	probe, err := openRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer probe.close()
	if fd, err := probe.openBeneath("."); err != nil {
		t.Skipf("no openat2 here: %v", err)
	} else {
		unix.Close(fd)
	}
	base := resolved(t, t.TempDir())
	component := rapid.SampledFrom([]string{"a", "b", "c", "..", ".", "", "d"})
	path := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(component, 1, 6).Draw(t, "path"), "/")
	})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w := world{t, filepath.Join(base, fmt.Sprint(n))}
		w.check(os.MkdirAll(w.dir+"/root", 0o755))
		defer os.RemoveAll(w.dir)
		grow(t, w, "root", path, 3)
		g := openGate(t, w.dir+"/root/top", Policy{})
		for range 5 {
			name := strings.TrimLeft(path.Draw(t, "name"), "/")
			if name == "" {
				continue
			}
			want := place(g.own.openBeneath(name))
			if want == unix.EXDEV.Error() || want == unix.EAGAIN.Error() {
				continue
			}
			if got := place(g.walk(g.own, name)); got != want {
				t.Fatalf("%q: the kernel finds %s, the walk %s", name, want, got)
			}
		}
	})
}

// grow makes random files, folders and links in dir.
func grow(t *rapid.T, w world, dir string, path *rapid.Generator[string], depth int) {
	for _, name := range []string{"a", "b", "c"} {
		full := dir + "/" + name
		switch rapid.SampledFrom([]string{"file", "folder", "link", "nothing"}).Draw(t, "kind of "+full) {
		case "file":
			w.file(full, full)
		case "folder":
			w.check(os.Mkdir(filepath.Join(w.dir, full), 0o755))
			if depth > 0 {
				grow(t, w, full, path, depth-1)
			}
		case "link":
			if target := path.Draw(t, "target of "+full); target != "" {
				w.link(full, target)
			}
		}
	}
}
