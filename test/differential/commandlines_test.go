package differential

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"instar/internal/program"
	"instar/internal/testutil"
)

// odds makes the images that the odd command lines of testdata/commandlines name.
func odds(t *testing.T) string {
	t.Helper()
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"a.raw":     append(bytes.Repeat([]byte("x"), 64*kib), make([]byte, mib-64*kib)...),
		"odd.raw":   bytes.Repeat([]byte("y"), 1000),
		"empty.raw": nil,
		"bad":       []byte("no\x00"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	secret := "--object secret,id=s,data=abc "
	for _, line := range []string{
		"convert -O qcow2 a.raw a.qcow2",
		"create -q -f qcow2 -b a.qcow2 -F qcow2 top.qcow2",
		"convert -O vmdk a.raw a.vmdk",
		"convert -O vpc a.raw a.vpc",
		"convert -O vhdx a.raw a.vhdx",
		"convert -O vdi a.raw a.vdi",
		"create -q -f qcow2 snap.qcow2 1M",
		"snapshot -c s1 snap.qcow2",
		"create -q -f qcow2 old.qcow2 2M",
		"create -q -f raw old.raw 2M",
		"create -q -f qcow2 tiny.qcow2 64k",
		"create -q -f qcow2 bm.qcow2 1M",
		"bitmap --add bm.qcow2 b0",
	} {
		program.MustRun(t, dir, nil, qemuImg, strings.Fields(line)...)
	}
	for _, line := range []string{
		"create -q -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 ENC 1M",
		"create -q -f luks -o key-secret=s,iter-time=10 LUKS 1M",
	} {
		line = strings.NewReplacer("create", "create "+secret, "ENC", filepath.Join(dir, "enc.qcow2"), "LUKS", filepath.Join(dir, "a.luks")).Replace(line)
		testutil.Run(t, qemuImg, strings.Fields(line)...)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": "a.raw", "dangling": "nope"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Command lines that are wrong, or odd: both programs exit with the same code,
// print the same and leave the same files. All of them are in testdata, one a
// line, quoted as for a shell.
func TestOddCommandLines(t *testing.T) {
	requireWall(t, "jail")
	inputs := odds(t)
	for _, command := range []string{"dd", "convert", "create", "compare"} {
		text, err := os.ReadFile(filepath.Join("testdata", "commandlines", command))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		const parts = 4
		for part := range parts {
			t.Run(command, func(t *testing.T) {
				t.Parallel()
				for i := part; i < len(lines); i += parts {
					oddLine(t, inputs, lines[i])
				}
			})
		}
	}
}

func oddLine(t *testing.T, inputs, line string) {
	t.Helper()
	args := quoted(line)
	theirs, ours := t.TempDir(), t.TempDir()
	for _, folder := range []string{theirs, ours} {
		take(t, inputs, folder, line)
	}
	want := program.Run(t, theirs, nil, testutil.QemuImg(t), args...)
	for try := 1; try < testutil.MaxTries && testutil.Unlucky(want.Stderr); try++ {
		want = program.Run(t, theirs, nil, testutil.QemuImg(t), args...)
	}
	got := program.Run(t, ours, []string{"INSTAR_SANDBOX=jail"}, program.AsQemuImg(), args...)
	want.Stderr = newest(want.Stderr, args)
	if got.Code != want.Code || got.Stdout != want.Stdout || got.Stderr != want.Stderr {
		t.Errorf("qemu-img %s\nexit code %d, want %d\nstandard error  %q\nwant            %q\nstandard output %q\nwant            %q",
			line, got.Code, want.Code, got.Stderr, want.Stderr, got.Stdout, want.Stdout)
	}
	if a, b := names(t, ours), names(t, theirs); want.Code == 0 && a != b {
		t.Errorf("qemu-img %s\nleaves the files %s, want %s", line, a, b)
	}
}

// names lists the files of a folder.
func names(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

// take copies the files that a line names, and what these stand on.
func take(t *testing.T, from, to, line string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	line = strings.NewReplacer("top.qcow2", "top.qcow2 a.qcow2", "link", "link a.raw").Replace(line)
	for _, e := range entries {
		if !strings.Contains(line, e.Name()) {
			continue
		}
		path := filepath.Join(to, e.Name())
		switch {
		case e.IsDir():
			err = os.Mkdir(path, 0o755)
		case e.Type() == os.ModeSymlink:
			var target string
			if target, err = os.Readlink(filepath.Join(from, e.Name())); err == nil {
				err = os.Symlink(target, path)
			}
		case e.Type() == os.ModeNamedPipe:
			err = unix.Mkfifo(path, 0o644)
		default:
			var content []byte
			if content, err = os.ReadFile(filepath.Join(from, e.Name())); err == nil {
				err = os.WriteFile(path, content, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// quoted splits a line at blanks, but not in apostrophes.
func quoted(line string) []string {
	var args []string
	word, inside := false, false
	var b strings.Builder
	for _, r := range line + " " {
		switch {
		case r == '\'':
			word, inside = true, !inside
		case r == ' ' && !inside:
			if word {
				args = append(args, b.String())
			}
			word = false
			b.Reset()
		default:
			word = true
			b.WriteRune(r)
		}
	}
	return args
}
