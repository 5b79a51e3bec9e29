//go:build linux && amd64

package kvm_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"instar/host/sandbox/kvm"
	"instar/job"
)

// ready starts a guest and waits for its hello.
func ready(t testing.TB, c kvm.Config) *running {
	t.Helper()
	v := startGuest(t, c)
	if m := v.receive(); m == nil || m.Hello == nil {
		r := v.end()
		t.Fatalf("got %+v instead of hello; %+v\n%s", m, r, r.Log)
	}
	return v
}

// TestAttacks has a guest try to leave its ring, its memory and its machine.
func TestAttacks(t *testing.T) {
	for name, want := range map[string]kvm.Outcome{
		"halt":                    kvm.Crashed,
		"port":                    kvm.Crashed,
		"int 80":                  kvm.Crashed,
		"breakpoint":              kvm.Crashed,
		"read CR3":                kvm.Crashed,
		"write MSR":               kvm.Crashed,
		"single step":             kvm.Crashed,
		"sysenter":                kvm.Crashed,
		"jump to kernel":          kvm.Crashed,
		"jump to handler":         kvm.Crashed,
		"jump to nowhere":         kvm.Crashed,
		"jump to non-canonical":   kvm.Crashed,
		"jump to the stack":       kvm.Crashed,
		"jump into call page":     kvm.Crashed,
		"call by jump":            kvm.Forbidden,
		"return to kernel":        kvm.Crashed,
		"return to non-canonical": kvm.Crashed,
		"read kernel":             kvm.Crashed,
		"write kernel":            kvm.Crashed,
		"write call page":         kvm.Crashed,
		"write clock page":        kvm.Crashed,
		"write text":              kvm.Crashed,
		"ring the bell":           kvm.Crashed,
		"read the bell":           kvm.Crashed,
		"read nowhere":            kvm.Crashed,
		"nil":                     kvm.Crashed,
		"memory":                  kvm.OutOfMemory,
		"panic":                   kvm.Exited,
		"exit":                    kvm.Exited,
		"thread bomb":             kvm.OutOfThreads,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := ready(t, kvm.Config{Memory: 128 << 20})
			if got := v.ask(name); got != "" {
				t.Error(got)
			}
			r := v.end()
			if r.Outcome != want || r.Err() == nil {
				t.Errorf("outcome %q (%d, %s), want %q\n%s", r.Outcome, r.Code, r.Detail, want, r.Log)
			}
			if want == kvm.Crashed && !strings.Contains(r.Detail, " at 0x") {
				t.Errorf("the detail %q does not say where", r.Detail)
			}
		})
	}
}

// TestHypercall shows what a hypercall from ring 3 comes to: KVM itself refuses
// it (-KVM_EPERM), or the processor faults.
func TestHypercall(t *testing.T) {
	v := ready(t, kvm.Config{})
	got := v.ask("hypercall")
	if r := v.end(); got != "-1" && r.Outcome != kvm.Crashed {
		t.Errorf("a hypercall gave %q, %+v", got, r)
	}
}

// TestForbiddenCalls has a guest make system calls that are not in the table.
func TestForbiddenCalls(t *testing.T) {
	for name, call := range map[string]string{
		"open":         fmt.Sprintf("%d text 0 0", unix.SYS_OPEN),
		"openat2":      fmt.Sprintf("%d -100 text buf 24", unix.SYS_OPENAT2),
		"socket":       fmt.Sprintf("%d 2 1 0", unix.SYS_SOCKET),
		"connect":      fmt.Sprintf("%d 3 buf 16", unix.SYS_CONNECT),
		"sendmsg":      fmt.Sprintf("%d 3 buf 0", unix.SYS_SENDMSG),
		"execve":       fmt.Sprintf("%d text 0 0", unix.SYS_EXECVE),
		"fork":         fmt.Sprintf("%d", unix.SYS_FORK),
		"vfork":        fmt.Sprintf("%d", unix.SYS_VFORK),
		"clone3":       fmt.Sprintf("%d buf 88", unix.SYS_CLONE3),
		"clone":        fmt.Sprintf("%d %d 0", unix.SYS_CLONE, unix.SIGCHLD),
		"ptrace":       fmt.Sprintf("%d 16 1", unix.SYS_PTRACE),
		"kill":         fmt.Sprintf("%d -1 9", unix.SYS_KILL),
		"mount":        fmt.Sprintf("%d text text text 0", unix.SYS_MOUNT),
		"io_uring":     fmt.Sprintf("%d 8 buf", unix.SYS_IO_URING_SETUP),
		"bpf":          fmt.Sprintf("%d 0 buf 64", unix.SYS_BPF),
		"userfaultfd":  fmt.Sprintf("%d 0", unix.SYS_USERFAULTFD),
		"ioctl":        fmt.Sprintf("%d 3 0x5413 buf", unix.SYS_IOCTL),
		"process_vm":   fmt.Sprintf("%d 1 buf 1 buf 1 0", unix.SYS_PROCESS_VM_READV),
		"pidfd_getfd":  fmt.Sprintf("%d 1 1 0", unix.SYS_PIDFD_GETFD),
		"memfd_create": fmt.Sprintf("%d text 0", unix.SYS_MEMFD_CREATE),
		"dup3":         fmt.Sprintf("%d 3 9 0", unix.SYS_DUP3),
		"no such call": "100000",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := ready(t, kvm.Config{})
			if got := v.ask("raw " + call); got != "" {
				t.Errorf("it answered %q", got)
			}
			if r := v.end(); r.Outcome != kvm.Forbidden || !strings.Contains(r.Err().Error(), "system call") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestWildCalls has a guest make calls of the table with what it should not.
func TestWildCalls(t *testing.T) {
	const ceiling = 1 << 20
	v := ready(t, kvm.Config{})
	dir := t.TempDir()
	in, out := create(t, dir, "in", 1<<16), create(t, dir, "out", 0)
	readOnly, err := os.Open(in.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	v.grant(readOnly, &job.Grant{ID: 0, Access: job.Read})
	v.grant(out, &job.Grant{ID: 1, Access: job.Write, Ceiling: ceiling})
	for _, c := range []struct{ call, want string }{
		{fmt.Sprintf("%d fd+0 buf 4096 0", unix.SYS_PREAD64), "4096"},
		{fmt.Sprintf("%d fd+0 nowhere 4096 0", unix.SYS_PREAD64), "bad address"},
		{fmt.Sprintf("%d fd+0 kernel 4096 0", unix.SYS_PREAD64), "bad address"},
		{fmt.Sprintf("%d fd+0 text 4096 0", unix.SYS_PREAD64), "bad address"},
		{fmt.Sprintf("%d fd+0 0 4096 0", unix.SYS_PREAD64), "bad address"},
		{fmt.Sprintf("%d fd+0 buf -1 0", unix.SYS_PREAD64), "bad address"},
		{fmt.Sprintf("%d fd+0 buf 1 -1", unix.SYS_PREAD64), "invalid argument"},
		{fmt.Sprintf("%d fd+1 buf 1 0", unix.SYS_PREAD64), "bad file descriptor"},
		{fmt.Sprintf("%d 0 buf 1 0", unix.SYS_PREAD64), "bad file descriptor"},
		{fmt.Sprintf("%d 100 buf 1 0", unix.SYS_PREAD64), "bad file descriptor"},
		{fmt.Sprintf("%d fd+0 buf 1 0", unix.SYS_PWRITE64), "bad file descriptor"},
		{fmt.Sprintf("%d fd+1 buf 1 %d", unix.SYS_PWRITE64, ceiling), "file too large"},
		{fmt.Sprintf("%d fd+1 buf 2 %d", unix.SYS_PWRITE64, ceiling-1), "file too large"},
		{fmt.Sprintf("%d fd+1 buf 1 %d", unix.SYS_PWRITE64, ceiling-1), "1"},
		{fmt.Sprintf("%d fd+1 text 4096 0", unix.SYS_PWRITE64), "4096"},
		{fmt.Sprintf("%d fd+0 0", unix.SYS_FTRUNCATE), "bad file descriptor"},
		{fmt.Sprintf("%d fd+1 %d", unix.SYS_FTRUNCATE, ceiling+1), "file too large"},
		{fmt.Sprintf("%d 0 0x100000000 3 0x22 -1 0", unix.SYS_MMAP), "cannot allocate memory"},
	} {
		if got := v.ask("raw " + c.call); got != c.want {
			t.Errorf("%s: %q, want %q", c.call, got, c.want)
		}
	}
	if r := v.end(); r.Err() != nil {
		t.Errorf("%+v", r)
	}
	if info, _ := os.Stat(in.Name()); info.Size() != 1<<16 {
		t.Errorf("the input has %d bytes now", info.Size())
	}
}

// TestHangs has guests that never come back.
func TestHangs(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		v := ready(t, kvm.Config{Stall: 300 * time.Millisecond})
		v.ask("spin")
		if r := v.end(); r.Outcome != kvm.Stalled {
			t.Errorf("%+v", r)
		}
	})
	t.Run("waiting is not hanging", func(t *testing.T) {
		v := ready(t, kvm.Config{Stall: 100 * time.Millisecond})
		time.Sleep(400 * time.Millisecond)
		if got := v.ask("hello"); got != "hello" {
			t.Errorf("%q, %+v", got, v.end())
		}
	})
}

// TestGiveBack shows that memory which the guest's garbage collector gives
// back is the guest's again, and reads as zeros.
func TestGiveBack(t *testing.T) {
	// Enough for four times 64 MiB: Go begins its heap at a random place, and
	// small objects at the start of a piece that was freed can keep the next
	// piece from going there.
	v := ready(t, kvm.Config{Memory: 384 << 20})
	before := resident(t, v)
	if got := v.ask("give back"); got != "done" {
		r := v.end()
		t.Fatalf("%q %+v\n%s", got, r, r.Log)
	}
	if after := resident(t, v); after > before+40<<20 {
		t.Errorf("the VMM takes up %d MiB, %d MiB before", after>>20, before>>20)
	}
	if r := v.end(); r.MemoryPeak < 64<<20 {
		t.Errorf("a peak of %d bytes", r.MemoryPeak)
	}
}

// resident returns how much memory the VMM takes up, in bytes.
func resident(t *testing.T, v *running) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", v.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestThreads has threads end and others begin, on processors that are used
// again.
func TestThreads(t *testing.T) {
	v := ready(t, kvm.Config{})
	for _, script := range []string{"thread exit", "work", "clock"} {
		if got := v.ask(script); got == "" {
			r := v.end()
			t.Fatalf("%s: %+v\n%s", script, r, r.Log)
		} else if script == "clock" && !strings.HasPrefix(got, "0 ") {
			t.Errorf("time went back: %s", got)
		}
	}
	if r := v.end(); r.Err() != nil || r.VCPUs > 20 {
		t.Errorf("%+v", r)
	}
}
