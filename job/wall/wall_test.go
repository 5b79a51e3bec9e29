package wall

import (
	"bytes"
	"flag"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite docs/sandbox.md")

// TestPage holds docs/sandbox.md to the table. Run it with -update after a
// change to the table.
func TestPage(t *testing.T) {
	const (
		page  = "../../docs/sandbox.md"
		begin = "<!-- the table: go test ./job/wall -update -->\n\n"
		end   = "\n<!-- end of the table -->"
	)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	i, j := bytes.Index(text, []byte(begin)), bytes.Index(text, []byte(end))
	if i < 0 || j < i {
		t.Fatalf("%s has no place for the table", page)
	}
	i += len(begin)
	if string(text[i:j]) == Markdown() {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the table: go test ./job/wall -update", page)
	}
	text = slices.Concat(text[:i], []byte(Markdown()), text[j:])
	if err := os.WriteFile(page, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryEntryIsComplete asks of every call what a reader asks of it.
func TestEveryEntryIsComplete(t *testing.T) {
	seen := map[uint64]string{}
	for c := range Calls() {
		if other, ok := seen[c.Number]; ok {
			t.Errorf("%s has the number of %s", c.Name, other)
		}
		seen[c.Number] = c.Name
		if c.Number >= maxNumber || Lookup(c.Number) != c {
			t.Errorf("%s is not found by its number", c.Name)
		}
		if c.For == "" || strings.ContainsAny(c.For, "\n|") || strings.HasSuffix(c.For, ".") {
			t.Errorf("%s is justified by %q", c.Name, c.For)
		}
		if c.Refusal != 0 && (c.Args != nil || c.Start) {
			t.Errorf("%s is refused, and looked at", c.Name)
		}
		for _, a := range c.Args {
			n := 0
			for _, set := range []bool{a.OneOf != nil, a.Bits != nil, a.Descriptor != 0, a.Ceiling} {
				if set {
					n++
				}
			}
			if n != 1 || a.Name == "" || a.Index < 0 || a.Index > 5 {
				t.Errorf("%s: argument %+v", c.Name, a)
			}
		}
	}
}

// TestNothingThatReachesOut names calls that must not come into the table.
func TestNothingThatReachesOut(t *testing.T) {
	for _, number := range []uint64{
		unix.SYS_OPENAT2, unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_SENDMSG, unix.SYS_EXECVE, unix.SYS_EXECVEAT,
		unix.SYS_CLONE3, unix.SYS_PTRACE, unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_MPROTECT,
		unix.SYS_MOUNT, unix.SYS_IO_URING_SETUP, unix.SYS_BPF, unix.SYS_USERFAULTFD, unix.SYS_IOCTL, unix.SYS_MEMFD_CREATE,
		unix.SYS_PROCESS_VM_READV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_KEYCTL, unix.SYS_DUP3,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_SECCOMP, unix.SYS_RT_SIGRETURN, math.MaxUint64, maxNumber,
	} {
		if c := Lookup(number); c != nil {
			t.Errorf("%s is in the table", c.Name)
		}
	}
	for c := range Calls() {
		if c.Refusal == 0 && slices.ContainsFunc([]string{"open", "exec", "sock", "link", "mkdir", "chmod"}, func(s string) bool {
			return strings.HasPrefix(c.Name, s)
		}) {
			t.Errorf("%s is in the table", c.Name)
		}
	}
}

func TestPermits(t *testing.T) {
	for _, c := range []struct {
		call uint64
		args [6]uint64
		want bool
	}{
		{unix.SYS_MMAP, [6]uint64{0, 4096, 3, 0x22}, true},
		{unix.SYS_MMAP, [6]uint64{0, 4096, 0, 0x32}, true},
		{unix.SYS_MMAP, [6]uint64{0, 4096, 5, 0x22}, false}, // executable
		{unix.SYS_MMAP, [6]uint64{0, 4096, 3, 0x02}, false}, // a file
		{unix.SYS_MMAP, [6]uint64{0, 4096, 3, 0x21}, false}, // shared
		{unix.SYS_MMAP, [6]uint64{0, 4096, 1<<32 | 3, 0x22}, false},
		{unix.SYS_CLONE, [6]uint64{ThreadFlags}, true},
		{unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, false},
		{unix.SYS_CLONE, [6]uint64{ThreadFlags | unix.CLONE_NEWUSER}, false},
		{unix.SYS_LSEEK, [6]uint64{4, 0, unix.SEEK_END}, true},
		{unix.SYS_LSEEK, [6]uint64{4, 0, unix.SEEK_CUR}, false},
		{unix.SYS_LSEEK, [6]uint64{4, 0, SeekRuns, 0, 1}, true},
		{unix.SYS_LSEEK, [6]uint64{4, 0, SeekRuns | unix.SEEK_HOLE}, false},
		{unix.SYS_FALLOCATE, [6]uint64{4, unix.FALLOC_FL_COLLAPSE_RANGE}, false},
		{unix.SYS_FALLOCATE, [6]uint64{4, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE}, true},
		{unix.SYS_FALLOCATE, [6]uint64{4, unix.FALLOC_FL_PUNCH_HOLE}, false},
		{unix.SYS_COPY_FILE_RANGE, [6]uint64{4, 0, 5, 0, 1, 0}, true},
		{unix.SYS_COPY_FILE_RANGE, [6]uint64{4, 0, 5, 0, 1, 1}, false},
		{unix.SYS_COPY_FILE_RANGE, [6]uint64{4, 0, 5, 0, 1, LeaveZeros}, true},
		{unix.SYS_COPY_FILE_RANGE, [6]uint64{4, 0, 5, 0, 1, LeaveZeros | SkipHoles}, true},
		{unix.SYS_COPY_FILE_RANGE, [6]uint64{4, 0, 5, 0, 1, SkipHoles}, false},
		{unix.SYS_COPY_FILE_RANGE, [6]uint64{4, 0, 5, 0, 1, LeaveZeros | 1}, false},
		{unix.SYS_EXIT_GROUP, [6]uint64{1, 2, 3, 4, 5, 6}, true},
	} {
		if got := Lookup(c.call).Permits(c.args); got != c.want {
			t.Errorf("%s%#x: %v", Lookup(c.call).Name, c.args, got)
		}
	}
}

func TestDescriptors(t *testing.T) {
	pwrite := Lookup(unix.SYS_PWRITE64)
	if got := pwrite.Descriptors(0); got != Output {
		t.Errorf("pwrite64 writes to %v", got)
	}
	if got := pwrite.Descriptors(1); got != 0 {
		t.Errorf("pwrite64's buffer is %v", got)
	}
	if got := Lookup(unix.SYS_CLOSE).Descriptors(0); got&(Control|Standard) != 0 {
		t.Errorf("close takes %v", got)
	}
	if got := (Control | Output | Event).String(); got != "the control channel, the output or an eventfd" {
		t.Errorf("%q", got)
	}
}
