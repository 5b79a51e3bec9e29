package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"instar/disk"
	"instar/disk/raw"
	"instar/guest"
	"instar/host/sandbox/kvm"
	"instar/job"
)

// The test binary is its own worker, with formats that go wrong.
func TestMain(m *testing.M) {
	if os.Args[0] == kvm.GuestName {
		if guest.Serve(job.NewConn(3), disk.NewRegistry(wrong("vdi"), wrong("qed"), wrong("parallels"), wrong("vhdx"), raw.Format)) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// wrong returns what is raw by another name, and goes wrong when it is written
// or read back.
func wrong(name string) disk.Format {
	f := raw.Format
	f.Name, f.Probe = name, nil
	switch name {
	case "vdi":
		f.Create = func(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
			w, err := raw.Format.Create(t, size, o)
			return flipping{w, t}, err
		}
	case "qed":
		f.Create = func(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
			w, err := raw.Format.Create(t, size, o)
			return ending{w, t, size}, err
		}
	case "parallels":
		f.Open = func(in disk.File, o disk.OpenOptions) (disk.Image, error) { return raw.Format.Open(unreadable{in}, o) }
	case "vhdx":
		f.Open = func(disk.File, disk.OpenOptions) (disk.Image, error) { return nil, errors.New("no such image") }
	}
	return f
}

// A flipping writer has a bit of what is written turned over.
type flipping struct {
	disk.Writer
	target disk.Target
}

func (f flipping) Content() disk.Target { return flippingTarget{f.target} }

type flippingTarget struct{ disk.Target }

func (f flippingTarget) WriteAt(p []byte, off int64) (int, error) {
	p = bytes.Clone(p)
	p[len(p)/2] ^= 0x10
	return f.Target.WriteAt(p, off)
}

func (f flippingTarget) CopyFrom(disk.File, int64, int64, int64) (int64, error) {
	return 0, errors.ErrUnsupported
}

// An ending writer loses the last sector.
type ending struct {
	disk.Writer
	target disk.Target
	size   int64
}

func (e ending) Finish() error { return e.target.Truncate(e.size - disk.SectorSize) }

// An unreadable file is there, and cannot be read.
type unreadable struct{ disk.File }

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// TestVerify: an output that is read back with other content, or cannot be, does
// not replace what was there; without --verify nothing is noticed.
func TestVerify(t *testing.T) {
	for _, test := range []struct{ format, want string }{
		{"raw", ""},
		{"vdi", "the content that is read back is not what was written"},
		{"qed", "its virtual size is 99840 bytes, not 100352"},
		{"parallels", "error while reading back at byte 0: Input/output error"},
		{"vhdx", "no such image"},
	} {
		t.Run(test.format, func(t *testing.T) {
			for _, command := range []string{"convert", "dd"} {
				for _, flag := range []string{"--quiet", "--verify"} {
					testVerify(t, command, flag, test.format, test.want)
				}
			}
		})
	}
}

func testVerify(t *testing.T, command, flag, format, want string) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	content := bytes.Repeat([]byte{1, 2, 3, 4, 0}, 20000)
	for name, p := range map[string][]byte{in: content, out: []byte("old")} {
		if err := os.WriteFile(name, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	p := &program{name: "instar", stdout: &results{w: &stdout}, stderr: &stderr, getenv: func(string) string { return "" }, worker: "/proc/self/exe"}
	args := []string{command, "--sandbox=none", flag, "-f", "raw", "-O", format, "--digest=sha256"}
	if command == "dd" {
		args = append(args, "if="+in, "of="+out)
	} else {
		args = append(args, in, out)
	}
	code := p.run(context.Background(), args)
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%v %v: left behind: %v, %v", command, flag, names, err)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if flag != "--verify" || want == "" {
		if code != 0 || len(lines) != 1 || string(got) == "old" || !strings.HasPrefix(stdout.String(), "sha256:") {
			t.Errorf("%v %v: code %d, %q, %q", command, flag, code, stdout.String(), lines)
		}
		return
	}
	wanted := []string{"instar: " + out + ": verification failed: " + want}
	if code != 1 || !slices.Equal(lines[1:], wanted) || string(got) != "old" || stdout.Len() > 0 {
		t.Errorf("%v %v: code %d, out is %d bytes, %q, %q", command, flag, code, len(got), stdout.String(), lines)
	}
}

// Writing and reading back are half of the work each.
func TestProgressOfHalves(t *testing.T) {
	var out bytes.Buffer
	s := &progress{show: lines{&out}, stop: func() {}}
	for _, p := range []job.Progress{{Done: 512, Total: 1024}, {Done: 1024, Total: 1024}} {
		s.first(p)
	}
	for _, p := range []job.Progress{{Done: 512, Total: 1024}, {Done: 1024, Total: 1024}} {
		s.second(p)
	}
	if want := "    (25.00/100%)\r    (50.00/100%)\r    (75.00/100%)\r    (100.00/100%)\r"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}
