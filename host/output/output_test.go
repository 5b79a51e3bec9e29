package output

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/testutil"
)

// TestMain has new files have the modes that the tests expect.
func TestMain(m *testing.M) {
	unix.Umask(0o022)
	os.Exit(m.Run())
}

func mustCreate(t *testing.T, name string, o Options) *File {
	t.Helper()
	f, err := Create(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Abort() })
	return f
}

func write(t *testing.T, f *File, content string) {
	t.Helper()
	if _, err := f.File().WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// list returns the names in a folder, separated by blanks.
func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func mode(t *testing.T, name string) os.FileMode {
	t.Helper()
	st, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode()
}

func TestNewFileAppearsWhenItIsComplete(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	f := mustCreate(t, name, Options{})
	if f.InPlace() || !f.Zeroed() || f.Size() != 0 || f.Device() {
		t.Errorf("in place %v, zeroed %v, size %d, device %v", f.InPlace(), f.Zeroed(), f.Size(), f.Device())
	}
	write(t, f, "content")
	if got := list(t, dir); !strings.HasPrefix(got, ".out.instar-") || strings.Contains(got, " ") {
		t.Errorf("before Commit there is %q", got)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := f.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	if list(t, dir) != "out" || contents(t, name) != "content" || mode(t, name) != 0o644 {
		t.Errorf("there is %q, %q, mode %v", list(t, dir), contents(t, name), mode(t, name))
	}
}

func TestFileIsWriteOnly(t *testing.T) {
	dir := t.TempDir()
	existing := filepath.Join(dir, "existing")
	put(t, existing, "x", 0o600)
	for _, o := range []Options{{}, {NoCreate: true}} {
		f := mustCreate(t, existing, o)
		flags, err := unix.FcntlInt(f.File().Fd(), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_ACCMODE != unix.O_WRONLY {
			t.Errorf("%+v: flags %#x, %v", o, flags, err)
		}
		f.Abort()
	}
}

func TestAbortLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	f := mustCreate(t, name, Options{})
	write(t, f, "half")
	if err := f.Abort(); err != nil || list(t, dir) != "" {
		t.Errorf("a new file: %v, left %q", err, list(t, dir))
	}
	put(t, name, "old", 0o640)
	f = mustCreate(t, name, Options{})
	write(t, f, "half")
	if contents(t, name) != "old" {
		t.Error("the old content is gone before Commit")
	}
	if err := f.Abort(); err != nil || list(t, dir) != "out" || contents(t, name) != "old" {
		t.Errorf("an old file: %v, left %q, %q", err, list(t, dir), contents(t, name))
	}
	if err := f.Commit(); err != nil || contents(t, name) != "old" {
		t.Errorf("Commit after Abort: %v, %q", err, contents(t, name))
	}
}

// What a file system says when a file is closed is known before it takes the name.
func TestWhatClosingSaysCounts(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	put(t, name, "old", 0o640)
	f := mustCreate(t, name, Options{})
	write(t, f, "new")
	f.File().Close() // so that it cannot be closed again
	if err := f.Commit(); err == nil || !strings.HasPrefix(err.Error(), "error while closing output image file: ") {
		t.Error(err)
	}
	if list(t, dir) != "out" || contents(t, name) != "old" {
		t.Errorf("left %q, %q", list(t, dir), contents(t, name))
	}
}

func TestReplacedFileKeepsModeAndOwner(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	put(t, name, "a longer old content", 0o604)
	if os.Geteuid() == 0 {
		if err := os.Chown(name, 1234, 2345); err != nil {
			t.Fatal(err)
		}
	}
	f := mustCreate(t, name, Options{})
	write(t, f, "new")
	if temp := filepath.Join(filepath.Dir(name), f.temp); mode(t, temp) != 0o600 {
		t.Errorf("others can open the file that is not complete: %v", mode(t, temp))
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if contents(t, name) != "new" || mode(t, name) != 0o604 {
		t.Errorf("%q, mode %v", contents(t, name), mode(t, name))
	}
	var st unix.Stat_t
	if unix.Stat(name, &st); os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 2345) {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b", "b/c"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"a/there":    "../b/c/there", // there is such a file
		"a/dangling": "../b/new",     // there is none
		"a/twice":    "hop",
		"a/hop":      dir + "/b/c/far",
		"d":          "b/c",
		"a/up":       "../d/../up", // leads to b/up, since d is a link
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "b/c/there"), "old", 0o600)
	for link, target := range map[string]string{
		"a/there": "b/c/there", "a/dangling": "b/new", "a/twice": "b/c/far", "a/up": "b/up",
	} {
		f := mustCreate(t, filepath.Join(dir, link), Options{})
		write(t, f, link)
		if err := f.Commit(); err != nil {
			t.Errorf("%s: %v", link, err)
			continue
		}
		if mode(t, filepath.Join(dir, link))&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more", link)
		}
		if got := contents(t, filepath.Join(dir, target)); got != link {
			t.Errorf("%s has %q", target, got)
		}
	}
}

func TestLinkOfSomebodyElseInFolderForAll(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it takes root to make a link of somebody else")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "out")
	if err := os.Symlink(filepath.Join(t.TempDir(), "victim"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(link, Options{}); !errors.Is(err, unix.EACCES) {
		t.Errorf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, err := range []error{
		os.Mkdir("d", 0o755), unix.Mkfifo("f", 0o644), os.Symlink("loop", "loop"), os.WriteFile("r", nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("a", 300)
	for _, test := range []struct {
		name   string
		o      Options
		framed bool
		want   string
	}{
		{"x/y", Options{}, true, "Could not create 'x/y': No such file or directory"},
		{"d", Options{}, true, "Could not create 'd': Is a directory"},
		{".", Options{}, true, "Could not create '.': Is a directory"},
		{"", Options{}, true, "Could not create '': No such file or directory"},
		{"file:", Options{}, true, "Could not create '': No such file or directory"},
		{"n/", Options{}, true, "Could not create 'n/': Is a directory"},
		{"r/", Options{}, true, "Could not create 'r/': Is a directory"},
		{"r/x", Options{}, true, "Could not create 'r/x': Not a directory"},
		{"loop", Options{}, true, "Could not create 'loop': Too many levels of symbolic links"},
		{long, Options{}, true, "Could not create '" + long + "': File name too long"},
		{"f", Options{}, true, "Could not resize file: Invalid argument"},
		{"/dev/null", Options{Size: 512}, true, "Cannot grow device files"},
		{"foo:bar", Options{}, false, "Unknown protocol 'foo'"},
		{"nbd:x", Options{}, false, "Protocol 'nbd' is not supported: only local files are opened"},
		{"", Options{NoCreate: true}, false, "Could not open '': The 'file' block driver requires a file name"},
		{"foo:bar", Options{NoCreate: true}, false, "Could not open 'foo:bar': Unknown protocol 'foo'"},
		{"n", Options{NoCreate: true}, false, "Could not open 'n': Could not open 'n': No such file or directory"},
		{"file:n", Options{NoCreate: true}, false, "Could not open 'file:n': Could not open 'n': No such file or directory"},
		{"d", Options{NoCreate: true}, false, "Could not open 'd': Could not open 'd': Is a directory"},
		{"f", Options{NoCreate: true}, false, "Could not open 'f': 'file' driver requires 'f' to be a regular file"},
	} {
		before := list(t, ".")
		f, err := Create(test.name, test.o)
		if err == nil {
			f.Abort()
			t.Errorf("%q, %+v: no error", test.name, test.o)
			continue
		}
		var framed *CreateError
		if err.Error() != test.want || errors.As(err, &framed) != test.framed {
			t.Errorf("%q, %+v: got %q, framed %v", test.name, test.o, err, framed != nil)
		}
		if after := list(t, "."); after != before {
			t.Errorf("%q, %+v: the folder has %q, and had %q", test.name, test.o, after, before)
		}
	}
}

// What qemu-img says is what is said here, with what goes before it.
func TestRefusalsAsQemu(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	t.Chdir(t.TempDir())
	for _, err := range []error{
		os.Mkdir("d", 0o755), unix.Mkfifo("f", 0o644), os.Symlink("loop", "loop"), os.WriteFile("in", make([]byte, 512), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"x/y", "d", ".", "", "n/", "in/", "in/x", "loop", "f", "/dev/null", "foo:bar"} {
		_, err := Create(name, Options{Size: 512})
		if err == nil {
			t.Errorf("%q: no error", name)
			continue
		}
		want := "qemu-img: " + err.Error()
		if framed := (*CreateError)(nil); errors.As(err, &framed) {
			want = "qemu-img: " + name + ": error while creating output image: " + err.Error()
		}
		out, _ := exec.Command(qemuImg, "dd", "if=in", "of="+name).CombinedOutput()
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%q: qemu-img says %q, and we would have %q", name, got, want)
		}
	}
}

func TestNoCreateKeepsTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	put(t, name, "0123456789", 0o600)
	f := mustCreate(t, name, Options{NoCreate: true})
	if !f.InPlace() || f.Zeroed() || f.Size() != 10 {
		t.Errorf("in place %v, zeroed %v, size %d", f.InPlace(), f.Zeroed(), f.Size())
	}
	write(t, f, "ab")
	if err := f.Abort(); err != nil || contents(t, name) != "ab23456789" {
		t.Errorf("%v, %q", err, contents(t, name))
	}
}

// asNobody runs one test of this file again, as a user for whom modes count.
func asNobody(t *testing.T) bool {
	if os.Geteuid() != 0 {
		return true
	}
	dir := t.TempDir()
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err == nil && st.Mode()&0o005 != 0o005 {
			if err := os.Chmod(d, st.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test")
	text, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	return false
}

func TestFolderThatLetsNoFileBeMade(t *testing.T) {
	if !asNobody(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "ro")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "out")
	put(t, name, "old content", 0o640)
	put(t, filepath.Join(dir, "fixed"), "old", 0o440)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })

	f := mustCreate(t, name, Options{})
	if !f.InPlace() || !f.Zeroed() {
		t.Errorf("in place %v, zeroed %v", f.InPlace(), f.Zeroed())
	}
	write(t, f, "half")
	if err := f.Abort(); err != nil || contents(t, name) != "" {
		t.Errorf("after Abort: %v, %q", err, contents(t, name))
	}
	f = mustCreate(t, name, Options{})
	write(t, f, "new")
	if err := f.Commit(); err != nil || contents(t, name) != "new" || mode(t, name) != 0o640 {
		t.Errorf("after Commit: %v, %q, mode %v", err, contents(t, name), mode(t, name))
	}
	for _, denied := range []string{"new", "fixed"} {
		_, err := Create(filepath.Join(dir, denied), Options{})
		if !errors.Is(err, unix.EACCES) || !strings.HasSuffix(err.Error(), "': Permission denied") {
			t.Errorf("%s: got %v", denied, err)
		}
	}
	if contents(t, filepath.Join(dir, "fixed")) != "old" {
		t.Error("a file that may not be written to was written to")
	}
}

// What is mounted on a file, as containers have it, cannot be renamed away.
func TestMountedFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	put(t, name, "old", 0o600)
	if err := unix.Mount(name, name, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(name, unix.MNT_DETACH) })
	f := mustCreate(t, name, Options{})
	if !f.InPlace() {
		t.Error("it is not written in place")
	}
	write(t, f, "new")
	if err := f.Commit(); err != nil || contents(t, name) != "new" {
		t.Errorf("%v, %q", err, contents(t, name))
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	put(t, filepath.Join(dir, ".out.instar-abcdefgh23"), "of a killed run", 0o600)
	for _, other := range []string{
		".out.instar-abc", ".out.instar-ABCDEFGH23", ".outer.instar-abcdefgh23", "out.instar-abcdefgh23", ".out.instar-abcdefgh23x",
	} {
		put(t, filepath.Join(dir, other), "of somebody else", 0o600)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, ".out.instar-linklink22")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".out.instar-folder2222"), 0o755); err != nil {
		t.Fatal(err)
	}
	first := mustCreate(t, name, Options{})
	second := mustCreate(t, name, Options{})
	want := []string{
		".out.instar-abc", ".out.instar-ABCDEFGH23", ".out.instar-abcdefgh23x", ".outer.instar-abcdefgh23",
		"out.instar-abcdefgh23", ".out.instar-linklink22", ".out.instar-folder2222", first.temp, second.temp,
	}
	got := " " + list(t, dir) + " "
	for _, w := range want {
		if !strings.Contains(got, " "+w+" ") {
			t.Errorf("%s is gone", w)
		}
	}
	if n := len(strings.Fields(got)); n != len(want) {
		t.Errorf("there are %d names: %s", n, got)
	}
}

// A worker is not gone at once when its host is killed. What it writes is a leftover
// from then on.
func TestLeftoverThatIsOpenIsRemoved(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	killed := mustCreate(t, name, Options{})
	worker, err := unix.Dup(int(killed.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(worker)
	killed.close() // as the kernel does
	if got, want := list(t, dir), mustCreate(t, name, Options{}).temp; got != killed.temp || list(t, dir) != want {
		t.Errorf("there was %s, and is %s, want %s", got, list(t, dir), want)
	}
}

func TestLongName(t *testing.T) {
	name := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	f := mustCreate(t, name, Options{})
	write(t, f, "x")
	if err := f.Commit(); err != nil || contents(t, name) != "x" {
		t.Error(err)
	}
}

// A name that stands for an open file is written to that file, as in qemu.
func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	put(t, name, "old content", 0o600)
	open, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, path := range []string{fmt.Sprintf("/proc/self/fd/%d", open.Fd()), fmt.Sprintf("/dev/fd/%d", open.Fd())} {
		f := mustCreate(t, path, Options{})
		write(t, f, path)
		if err := f.Commit(); err != nil || !f.InPlace() {
			t.Errorf("%s: %v, in place %v", path, err, f.InPlace())
		}
		text := make([]byte, 100)
		if n, _ := open.ReadAt(text, 0); string(text[:n]) != path || list(t, dir) != "out" {
			t.Errorf("%s: the open file has %q, and the folder %q", path, text[:n], list(t, dir))
		}
	}
}

// A device without an end takes an output without content, as in qemu.
func TestDeviceWithoutEnd(t *testing.T) {
	f := mustCreate(t, "/dev/null", Options{})
	if !f.Device() || !f.InPlace() || f.Zeroed() || f.Size() != 0 {
		t.Errorf("device %v, in place %v, zeroed %v, size %d", f.Device(), f.InPlace(), f.Zeroed(), f.Size())
	}
}

func TestBlockDevice(t *testing.T) {
	losetup, err := exec.LookPath("losetup")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("it takes root and losetup (package mount)")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	put(t, file, strings.Repeat("x", 4096), 0o600)
	device := func(flags ...string) string {
		out, err := exec.Command(losetup, append(flags, "--find", "--show", file)...).Output()
		if err != nil {
			t.Skipf("losetup: %v", err)
		}
		name := strings.TrimSpace(string(out))
		t.Cleanup(func() { exec.Command(losetup, "--detach", name).Run() })
		return name
	}
	name := device()
	for _, o := range []Options{{Size: 4096}, {NoCreate: true}} {
		f := mustCreate(t, name, o)
		if !f.Device() || !f.InPlace() || f.Zeroed() || f.Size() != 4096 {
			t.Errorf("%+v: device %v, in place %v, zeroed %v, size %d", o, f.Device(), f.InPlace(), f.Zeroed(), f.Size())
		}
		write(t, f, "new")
		if err := errors.Join(f.File().Sync(), f.Abort()); err != nil {
			t.Error(err)
		}
		if got := contents(t, name); got != "new"+strings.Repeat("x", 4093) {
			t.Errorf("%+v: the device has %q", o, got[:8])
		}
	}
	if _, err := Create(name, Options{Size: 4097}); err == nil || err.Error() != "Cannot grow device files" {
		t.Errorf("too small: %v", err)
	}
	node := filepath.Join(dir, "node")
	var st unix.Stat_t
	if err := errors.Join(unix.Stat(name, &st), unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev))); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if same, err := Same(in, node); !same || err != nil {
		t.Errorf("another node of the device is not the same: %v", err)
	}
	for _, o := range []Options{{Size: 512}, {NoCreate: true}} {
		if _, err := Create(device("--read-only"), o); err == nil || !strings.HasSuffix(err.Error(), "The device is not writable: Permission denied") {
			t.Errorf("read-only, %+v: %v", o, err)
		}
	}
}

// An image that another process has open is not replaced, nor written to.
func TestLockedOutput(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	put(t, name, "old", 0o600)
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := localfile.LockRead(in, name); err != nil {
		t.Fatal(err)
	}
	const text = "Failed to get \"write\" lock\nIs another process using the image ["
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{}, text + name + "]?"},
		{Options{NoCreate: true}, "Could not open '" + name + "': " + text + name + "]?"},
	} {
		if _, err := Create(name, test.o); err == nil || err.Error() != test.want {
			t.Errorf("%+v: got %v", test.o, err)
		}
	}
	if contents(t, name) != "old" || list(t, dir) != "out" {
		t.Errorf("there is %q with %q", list(t, dir), contents(t, name))
	}
}

// What was there stays locked while it is being replaced.
func TestOldFileIsLocked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	put(t, name, "old", 0o600)
	f := mustCreate(t, name, Options{})
	if _, err := Create(name, Options{}); err == nil {
		t.Error("two replace one file")
	}
	f.Abort()
	mustCreate(t, name, Options{})
}

func TestNothingStaysOpen(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "file", "x", 0o600)
	count := func() int { return len(strings.Fields(list(t, "/proc/self/fd"))) }
	before := count()
	for _, name := range []string{"file", "new", "no/file", "/dev/null", "/dev/stdin", "/"} {
		for _, o := range []Options{{}, {NoCreate: true}, {Size: 1}} {
			if f, err := Create(name, o); err == nil {
				f.Abort()
			}
			if after := count(); after != before {
				t.Errorf("%s, %+v: %d files stay open", name, o, after-before)
			}
		}
	}
}

func TestSame(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "a", "x", 0o600)
	put(t, "b", "x", 0o600)
	for _, err := range []error{os.Symlink("a", "soft"), os.Link("a", "hard"), os.Symlink("nowhere", "dangling")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	in, err := os.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for name, want := range map[string]bool{
		"a": true, "./a": true, "file:a": true, "soft": true, "hard": true,
		"b": false, "dangling": false, "nowhere": false, "nbd:a": false, "": false,
	} {
		if got, err := Same(in, name); got != want || err != nil {
			t.Errorf("Same(%q) = %v, %v", name, got, err)
		}
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if same, err := Same(null, "/dev/null"); same || err != nil {
		t.Errorf("/dev/null can be read and written at once: %v", err)
	}
}

// What confines this process may let only the final name be made (AppArmor).
func TestFileMadeInPlaceIsRemovedOnFailure(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	inPlace := func() *File {
		p, err := findPlace(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := p.open(p.base, newMode)
		if err != nil {
			t.Fatal(err)
		}
		f := &File{place: p, file: file, failed: remove}
		write(t, f, "half")
		return f
	}
	if err := inPlace().Abort(); err != nil || list(t, dir) != "" {
		t.Errorf("%v, left %q", err, list(t, dir))
	}
	f := inPlace()
	if err := os.Rename(name, name+".moved"); err != nil {
		t.Fatal(err)
	}
	put(t, name, "of somebody else", 0o600)
	if err := f.Abort(); err != nil || contents(t, name) != "of somebody else" {
		t.Errorf("%v: what took the name meanwhile is gone", err)
	}
}
