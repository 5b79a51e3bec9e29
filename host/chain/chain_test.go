package chain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/testutil"
	"instar/job"
)

func TestChain(t *testing.T) {
	w := newWorld(t)
	w.image("top", backing("sub/mid"))
	w.image("sub/mid", backing("base"))
	w.image("sub/base")
	worker := new(fake)
	c, err := discover(t, worker, "top", Options{Format: "fake", Snapshot: "snap", Secret: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(c); got != "top sub/mid sub/base" {
		t.Errorf("layers %s", got)
	}
	secret := []byte("secret")
	want := job.Input{Layers: []job.Layer{
		{ID: 0, Format: "fake", Snapshot: "snap", Secret: secret, Files: []int{-1}},
		{ID: 1, Format: "fake", Secret: secret, Files: []int{-1}},
		{ID: 2, Format: "fake", Secret: secret, Files: []int{}},
	}}
	if diff := cmp.Diff(want, c.Input()); diff != "" {
		t.Error(diff)
	}
	wantAsked := []job.Inspect{
		{ID: 0, Format: "fake", Snapshot: "snap", Secret: secret},
		{ID: 1, Format: "fake", Secret: secret},
		{ID: 2, Format: "fake", Secret: secret},
	}
	if diff := cmp.Diff(wantAsked, worker.asked); diff != "" {
		t.Error(diff)
	}
	if c.Size() != 1024 || c.Top().Name != "top" || len(c.Files()) != 3 {
		t.Errorf("size %d, top %s, %d files", c.Size(), c.Top().Name, len(c.Files()))
	}
}

// A file that became longer is complete, and one that became shorter is not.
func TestComplete(t *testing.T) {
	w := newWorld(t)
	w.image("top", backing("base"))
	w.image("base")
	c, err := discover(t, new(fake), "top", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Complete(); err != nil {
		t.Error(err)
	}
	base := c.Files()[1]
	st, err := base.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{st.Size() + 1, st.Size() - 1} {
		if err := os.Truncate("base", size); err != nil {
			t.Fatal(err)
		}
		var shorter *ShorterError
		if err := c.Complete(); errors.As(err, &shorter) != (size < st.Size()) {
			t.Errorf("%d bytes instead of %d: %v", size, st.Size(), err)
		} else if err != nil && err.Error() != "base: the file became shorter while it was read" {
			t.Error(err)
		}
	}
}

// The format of a backing file is the declared one; it is not looked for.
func TestDeclaredFormatHolds(t *testing.T) {
	w := newWorld(t)
	w.image("evil", backing("/etc/passwd"))
	for _, format := range []string{"raw", "file"} {
		w.image("top", job.Reference{Kind: job.BackingFile, Names: []string{"evil"}, Format: format})
		c, err := discover(t, new(fake), "top", Options{})
		if err != nil || len(c.Layers) != 2 || c.Layers[1].Inspection.Format != "raw" {
			t.Errorf("%s: %v, %v", format, names(c), err)
		}
	}
}

func TestInspectOpensNothingElse(t *testing.T) {
	w := newWorld(t)
	w.image("top", backing("base"), extent("part"))
	w.image("base")
	worker := new(fake)
	l, err := Inspect(context.Background(), worker, "top", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(worker.granted) != 1 || len(l.Files) != 0 || len(l.Inspection.References) != 2 {
		t.Errorf("%d granted, %d files", len(worker.granted), len(l.Files))
	}
}

func TestExtents(t *testing.T) {
	w := newWorld(t)
	w.image("top", extent("part 1"), backing("base"), extent("sub/nbd:part"))
	w.image("base")
	w.file("part 1", "one")
	w.file("sub/nbd:part", "two")
	worker := new(fake)
	c, err := discover(t, worker, "top", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := c.Input().Layers[0].Files
	if len(ids) != 3 || ids[1] != -1 || worker.granted[ids[0]] != "one" || worker.granted[ids[2]] != "two" {
		t.Errorf("files %v of %q", ids, worker.granted)
	}
	if top := c.Top(); top.Files[0] == nil || top.Files[1] != nil || top.Files[2] == nil || len(c.Files()) != 4 {
		t.Errorf("files %v", top.Files)
	}
}

// To qemu the name of a data file is one in the working directory.
func TestDataFile(t *testing.T) {
	w := newWorld(t)
	allow := Options{Policy: Policy{AllowDataFile: true}}
	granted := func(name string, o Options) string {
		worker := new(fake)
		c, err := discover(t, worker, name, o)
		if err != nil {
			return err.Error()
		}
		return worker.granted[c.Input().Layers[0].Files[0]]
	}
	w.image("sub/beside", dataFile("data"))
	w.image("sub/below", dataFile("sub/data"))
	w.image("sub/neither", dataFile("no"))
	w.file("data", "in the working directory")
	w.file("sub/data", "beside the image")
	wide := allow
	wide.Policy.AllowPaths = []string{w.dir}
	w.image("sub/above", dataFile("../data"))
	w.file("sub/deep/data", "x")
	w.link("into", "sub/deep") // where the working directory is, it is not by this name
	t.Chdir("into")
	if got := granted("../above", allow); got != "beside the image" {
		t.Errorf("in another folder: %s", got)
	}
	t.Chdir(w.dir)
	for _, test := range []struct {
		name string
		o    Options
		want string
	}{
		{"sub/beside", allow, "beside the image"},
		{"sub/below", allow, "beside the image"},
		{"sub/beside", wide, "in the working directory"},
		{"sub/neither", allow, "Could not open 'sub/neither': Could not open 'sub/no': No such file or directory"},
		{"sub/beside", Options{}, "Could not open 'sub/beside': 'data' is a data file, and images may not name any (see --allow-data-file)"},
	} {
		if got := granted(test.name, test.o); got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

func TestTopRefusals(t *testing.T) {
	w := newWorld(t)
	w.file("r", "")
	w.check(os.Mkdir("d", 0o755))
	w.check(unix.Mkfifo("f", 0o644))
	w.link("loop", "loop")
	long := strings.Repeat("a", 300)
	for name, want := range map[string]string{
		"n":             "Could not open 'n': No such file or directory",
		"file:n":        "Could not open 'n': No such file or directory",
		"file:file:n":   "Could not open './file:n': No such file or directory",
		"":              "The 'file' block driver requires a file name",
		"file:":         "The 'file' block driver requires a file name",
		"d":             "'file' driver requires 'd' to be a regular file",
		"d/":            "'file' driver requires 'd/' to be a regular file",
		"r/x":           "Could not open 'r/x': Not a directory",
		"loop":          "Could not open 'loop': Too many levels of symbolic links",
		long:            "Could not open '" + long + "': File name too long",
		"f":             "'f' is a pipe: an image must be a file that can be read at any place",
		"a:b":           "Unknown protocol 'a'",
		"./a:b":         "Could not open './a:b': No such file or directory",
		`json:{"a":1}`:  "Protocol 'json' is not supported: only local files are opened",
		"nbd://x/y":     "Protocol 'nbd' is not supported: only local files are opened",
		"http://x/\x1b": "Protocol 'http' is not supported: only local files are opened",
	} {
		_, err := discover(t, new(fake), name, Options{})
		if want = "Could not open '" + strings.ReplaceAll(name, "\x1b", `\x1b`) + "': " + want; err == nil || err.Error() != want {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestTopRefusalsAsQemu(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	w := newWorld(t)
	w.file("r", "")
	w.check(os.Mkdir("d", 0o755))
	w.link("loop", "loop")
	for _, name := range []string{
		"n", "./n", "x/n", "file:n", "file:file:n", "", "file:", "d", "r/x", "loop", "a:b", "./a:b", strings.Repeat("a", 300),
	} {
		_, err := discover(t, new(fake), name, Options{})
		out, _ := exec.Command(qemuImg, "dd", "if="+name, "of=o").CombinedOutput()
		if got := strings.TrimSpace(string(out)); err == nil || got != "qemu-img: "+err.Error() {
			t.Errorf("%q: qemu-img says %q, and we have %v", name, got, err)
		}
	}
}

// A device without an end is an image, as in qemu.
func TestDevice(t *testing.T) {
	if _, err := discover(t, new(fake), "/dev/null", Options{}); err != nil {
		t.Error(err)
	}
}

func TestBackingRefusalsAsQemu(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	w := newWorld(t)
	w.check(os.Mkdir("d", 0o755))
	w.file("not", "not an image")
	create := func(name, base string) {
		testutil.Run(t, qemuImg, "create", "-q", "-u", "-f", "qcow2", "-b", base, "-F", "qcow2", name+".qcow2", "1M")
		w.image(name, backing(base))
	}
	for i, base := range []string{"nope", "sub/nope", w.dir + "/nope", "not/nope", "d"} {
		name := fmt.Sprint("top", i)
		create(name, base)
		create("over-"+name, name)
		for _, image := range []string{name, "over-" + name} {
			// Qemu finds the first layer of a chain under its other name.
			if image != name {
				w.check(os.Rename(name+".qcow2", "kept"))
				w.check(os.Rename("kept", name))
			}
			out, _ := exec.Command(qemuImg, "dd", "if="+image+".qcow2", "of=o").CombinedOutput()
			if image != name {
				w.image(name, backing(base))
			}
			_, err := discover(t, new(fake), image, Options{})
			want := strings.Replace(strings.TrimSpace(string(out)), image+".qcow2", image, 1)
			if err == nil || "qemu-img: "+err.Error() != want {
				t.Errorf("%s on %q: qemu-img says %q, and we have %v", image, base, want, err)
			}
		}
	}
}

func TestFramesOfErrorsBelow(t *testing.T) {
	w := newWorld(t)
	w.file("not", "not an image")
	w.image("wrong", backing("not"))
	w.image("over", backing("wrong"))
	w.image("bogus", job.Reference{Kind: job.BackingFile, Names: []string{"not"}, Format: "bogus"})
	w.image("part", extent("nope"))
	w.image("over part", backing("part"))
	for name, want := range map[string]string{
		"wrong":     "Could not open backing file: Image is not in fake format",
		"over":      "Could not open backing file: Could not open backing file: Image is not in fake format",
		"bogus":     "Could not open backing file: Unknown driver 'bogus'",
		"part":      "Could not open 'nope': No such file or directory",
		"over part": "Could not open backing file: Could not open 'nope': No such file or directory",
	} {
		_, err := discover(t, new(fake), name, Options{})
		if want = "Could not open '" + name + "': " + want; err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var e *job.Error
	_, err := discover(t, new(fake), "over", Options{})
	if !errors.As(err, &e) || e.Kind != job.ErrOpen {
		t.Errorf("the worker's error is lost: %v", err)
	}
}

func TestDepth(t *testing.T) {
	w := newWorld(t)
	w.image("0")
	for i := range 20 {
		w.image(fmt.Sprint(i+1), backing(fmt.Sprint(i)))
	}
	for _, test := range []struct {
		top, max int
		ok       bool
	}{
		{15, 0, true},
		{16, 0, false},
		{0, 1, true},
		{1, 1, false},
		{19, 20, true},
		{20, 20, false},
	} {
		worker := new(fake)
		_, err := discover(t, worker, fmt.Sprint(test.top), Options{Policy: Policy{MaxDepth: test.max}})
		if (err == nil) != test.ok {
			t.Errorf("%d on top, at most %d: %v", test.top, test.max, err)
		}
		if n := (Policy{MaxDepth: test.max}).maxDepth(); err != nil {
			if len(worker.granted) != n {
				t.Errorf("%d images opened of at most %d", len(worker.granted), n)
			}
			if want := fmt.Sprintf("Could not open backing file: the chain has more than %d images", n); !strings.HasSuffix(err.Error(), want) {
				t.Error(err)
			}
		}
	}
}

func TestLoops(t *testing.T) {
	w := newWorld(t)
	w.image("self", backing("self"))
	w.image("a", backing("b"))
	w.image("b", backing("c"))
	w.image("c", backing("d"))
	w.link("d", "a")
	w.image("e", backing("hard"))
	w.check(os.Link("e", "hard"))
	for name, want := range map[string]string{
		"self": "Could not open 'self': Could not open backing file: the chain comes back to 'self'",
		"e":    "Could not open 'e': Could not open backing file: the chain comes back to 'hard'",
		"a": "Could not open 'a': Could not open backing file: Could not open backing file: Could not open backing file: " +
			"the chain comes back to 'd'",
	} {
		if _, err := discover(t, new(fake), name, Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTwoBackingFiles(t *testing.T) {
	w := newWorld(t)
	w.image("top", backing("base"), backing("base"))
	w.image("base")
	if _, err := discover(t, new(fake), "top", Options{}); err == nil {
		t.Error("accepted")
	}
}

func TestIdentity(t *testing.T) {
	w := newWorld(t)
	w.image("base")
	ref := backing("base")
	ref.Identity = "id of base"
	w.image("right", ref)
	ref.Identity = "another"
	w.image("wrong", ref)
	if _, err := discover(t, new(fake), "right", Options{}); err != nil {
		t.Error(err)
	}
	want := "Could not open 'wrong': Could not open backing file: 'base' has changed since 'wrong' was made on it, or is another image"
	if _, err := discover(t, new(fake), "wrong", Options{}); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// Of several names the first that leads somewhere counts, and else the error
// of the first that may be followed.
func TestSeveralNames(t *testing.T) {
	w := newWorld(t)
	w.image("base")
	w.image("top", backing(`C:\base`, "../base", "nope", "base", "no"))
	c, err := discover(t, new(fake), "top", Options{})
	if err != nil || names(c) != "top base" {
		t.Errorf("%v", err)
	}
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{"/base", "nope", "no"}, "Could not open 'nope': No such file or directory"},
		{[]string{"nope", "/base"}, "Could not open 'nope': No such file or directory"},
		{[]string{"/a", "../b"}, "'/a' is outside the folders in which images may name files (see --allow-path)"},
		{nil, "'' is no name of a backing file"},
	} {
		w.image("missing", backing(test.names...))
		_, err := discover(t, new(fake), "missing", Options{})
		if want := "Could not open 'missing': Could not open backing file: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%q: got %v", test.names, err)
		}
	}
}

// An image that another process writes is refused at any place of a chain.
func TestLockedFiles(t *testing.T) {
	w := newWorld(t)
	w.image("base")
	w.file("part", "")
	w.image("top", extent("part"), backing("base"))
	for name, frame := range map[string]string{
		"top": "", "part": "", "base": "Could not open backing file: ",
	} {
		f, err := os.Open(name)
		w.check(err)
		w.check(localfile.LockWrite(f, name))
		_, err = discover(t, new(fake), "top", Options{})
		want := "Could not open 'top': " + frame + "Failed to get shared \"write\" lock\nIs another process using the image [" + name + "]?"
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := discover(t, new(fake), "top", Options{ForceShare: true}); err != nil {
			t.Errorf("%s, shared: %v", name, err)
		}
		f.Close()
	}
}

// A chain is locked against writers until it is closed.
func TestChainIsLocked(t *testing.T) {
	w := newWorld(t)
	w.image("base")
	w.image("top", backing("base"))
	locked := func(name string) bool {
		f, err := os.Open(name)
		w.check(err)
		defer f.Close()
		return localfile.LockWrite(f, name) != nil
	}
	c, err := Discover(context.Background(), new(fake), "top", Options{})
	w.check(err)
	if !locked("top") || !locked("base") {
		t.Error("an open chain is not locked")
	}
	w.check(c.Close())
	if locked("top") || locked("base") {
		t.Error("a closed chain is locked")
	}
}

// What fails leaves nothing open.
func TestNothingStaysOpen(t *testing.T) {
	w := newWorld(t)
	w.image("good", backing("sub/mid"), extent("part"))
	w.image("sub/mid")
	w.file("part", "")
	w.image("loop", backing("loop"))
	w.image("missing", extent("part"), backing("nope"))
	w.image("outside", extent("part"), extent("../nope"))
	w.image("deep", backing("good"))
	ref := backing("good")
	ref.Identity = "another"
	w.image("other", ref)
	w.link("a", "b/../../c")
	w.image("links", backing("a"))
	o := Options{Policy: Policy{AllowPaths: []string{"sub", "nope"}}}
	before := openFiles(t)
	for _, name := range []string{"good", "loop", "missing", "outside", "deep", "other", "links"} {
		if c, err := Discover(context.Background(), new(fake), name, o); err == nil {
			w.check(c.Close())
		}
		if after := openFiles(t); after != before {
			t.Errorf("%s: %d files stay open", name, after-before)
		}
	}
}

// The names in images cannot make errors of more than one line.
func TestNamesAreEscaped(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a\nb", "\x1b[2J", "/\x1b]0;x\a", "x:\r", "\xff\xfe", "../\u202e"} {
		for j, ref := range []job.Reference{backing(name), extent(name), dataFile(name)} {
			top := fmt.Sprint("top", i, j)
			w.image(top, ref)
			_, err := discover(t, new(fake), top, Options{})
			if err == nil || strings.ContainsAny(err.Error(), "\n\r\x1b\a\u202e") || !utf8.ValidString(err.Error()) {
				t.Errorf("%q: got %q", name, err)
			}
		}
	}
}

// No kind of file but a regular one is so much as opened.
func TestOnlyRegularFilesAreFollowed(t *testing.T) {
	w := newWorld(t)
	w.check(unix.Mkfifo("pipe", 0o644))
	w.check(os.Mkdir("folder", 0o755))
	w.check(unix.Mknod("socket", unix.S_IFSOCK|0o644, 0))
	kinds := []string{"pipe", "folder", "socket", ".", "folder/", "folder/.."}
	if unix.Mknod("device", unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))) == nil {
		kinds = append(kinds, "device")
	}
	for _, kind := range kinds {
		w.image("top", backing(kind))
		done := make(chan error)
		go func() {
			_, err := Discover(context.Background(), new(fake), "top", Options{})
			done <- err
		}()
		select {
		case err := <-done:
			want := "Could not open 'top': Could not open backing file: 'file' driver requires '" + kind + "' to be a regular file"
			if err == nil || err.Error() != want {
				t.Errorf("%s: got %v", kind, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it waits", kind)
		}
	}
}

func TestJudge(t *testing.T) {
	w := newWorld(t)
	w.image("base")
	w.image("top", backing("base"), extent("nope"), extent("/etc/passwd"), dataFile("base"), backing("nbd://x"))
	l, err := Inspect(context.Background(), new(fake), "top", Options{})
	w.check(err)
	defer l.Close()
	before := openFiles(t)
	verdicts, err := l.Judge(Policy{})
	w.check(err)
	var got []string
	for _, err := range verdicts {
		refusal := (*RefusedError)(nil)
		switch {
		case err == nil:
			got = append(got, "followed")
		case errors.As(err, &refusal):
			got = append(got, "refused")
		default:
			got = append(got, "missing")
		}
	}
	if want := []string{"followed", "missing", "refused", "refused", "refused"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files stay open", after-before)
	}
}

func TestCombine(t *testing.T) {
	for _, test := range [][3]string{
		{"top", "base", "base"},
		{"d/top", "base", "d/base"},
		{"d/top", "../base", "d/../base"},
		{"/d/top", "/base", "/base"},
		{"/top", "base", "/base"},
	} {
		if got := Combine(test[0], test[1]); got != test[2] {
			t.Errorf("Combine(%q, %q) = %q", test[0], test[1], got)
		}
	}
}
