package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"instar/internal/program"
)

// A fault is a system call that fails.
type fault struct {
	call, errno string
	// fatal says that a run in which it happens must not succeed.
	fatal bool
	// first is the number of the first call that fails: those before it are the
	// Go runtime's, which ends with the program if they do.
	first int
	walls string // behind which it can happen to the path of the data; "" is all
}

// faults are the calls on the way of the data, and what can come of them. With
// EINTR, and where there is another way, a run goes on.
var faults = []fault{
	{call: "pread64", errno: "EIO"},
	{call: "pread64", errno: "EINTR", walls: "none"},
	{call: "preadv", errno: "EIO", fatal: true, walls: "kvm"},
	{call: "preadv", errno: "EINTR", walls: "kvm"},
	{call: "pwrite64", errno: "EIO", fatal: true, walls: "none jail"},
	{call: "pwrite64", errno: "ENOSPC", fatal: true, walls: "none"},
	{call: "pwrite64", errno: "EDQUOT", fatal: true, walls: "none"},
	{call: "pwrite64", errno: "EINTR", walls: "none"},
	{call: "pwritev", errno: "EIO", fatal: true, walls: "kvm"},
	{call: "pwritev", errno: "ENOSPC", fatal: true, walls: "kvm"},
	{call: "pwritev", errno: "EINTR", walls: "kvm"},
	{call: "copy_file_range", errno: "EIO", fatal: true, walls: "none kvm"},
	{call: "copy_file_range", errno: "ENOSPC", fatal: true, walls: "none kvm"},
	{call: "copy_file_range", errno: "EINTR", walls: "none kvm"},
	{call: "copy_file_range", errno: "EXDEV", walls: "none kvm"},
	{call: "fallocate", errno: "EIO", fatal: true, walls: "none kvm"},
	{call: "fallocate", errno: "ENOSPC", fatal: true, walls: "none kvm"},
	{call: "fallocate", errno: "EINTR", walls: "none kvm"},
	{call: "fallocate", errno: "EOPNOTSUPP", walls: "none kvm"},
	{call: "ftruncate", errno: "EIO", fatal: true},
	{call: "ftruncate", errno: "EFBIG", fatal: true, walls: "none kvm"},
	{call: "ftruncate", errno: "EINTR", walls: "none kvm"},
	{call: "fdatasync", errno: "EIO", fatal: true},
	{call: "fdatasync", errno: "ENOSPC", fatal: true, walls: "none kvm"},
	{call: "fdatasync", errno: "EINTR", walls: "none kvm"},
	{call: "lseek", errno: "EIO"},
	{call: "renameat", errno: "EIO", fatal: true},
	{call: "renameat", errno: "ENOSPC", fatal: true, walls: "jail"},
	{call: "openat", errno: "EIO"},
	{call: "openat", errno: "EMFILE", walls: "jail"},
	{call: "openat", errno: "EINTR", walls: "jail"},
	{call: "flock", errno: "ENOLCK", walls: "jail"},
	{call: "flock", errno: "EINTR", walls: "jail"},
	{call: "fcntl", errno: "EIO", first: 4, walls: "jail kvm"},
	{call: "fstat", errno: "EIO"},
	{call: "newfstatat", errno: "EIO", walls: "jail"},
	{call: "fchmod", errno: "EIO", walls: "jail"},
	{call: "fchown", errno: "EPERM", walls: "jail"},
	{call: "statx", errno: "EIO"},
	{call: "readlinkat", errno: "EIO", walls: "jail"},
	{call: "getdents64", errno: "EIO", walls: "jail"},
	{call: "sync_file_range", errno: "EIO", walls: "kvm"},
	{call: "pipe2", errno: "EMFILE", walls: "jail"},
	{call: "dup3", errno: "EBUSY", walls: "jail"},
	{call: "close_range", errno: "ENOMEM", walls: "jail"},
	{call: "pidfd_open", errno: "EMFILE", walls: "jail"},
	{call: "waitid", errno: "EINTR", walls: "jail"},
	{call: "mount", errno: "EPERM", walls: "jail"},
	{call: "pivot_root", errno: "EINVAL", walls: "jail"},
	{call: "capset", errno: "EPERM", walls: "jail"},
	{call: "landlock_create_ruleset", errno: "EOPNOTSUPP", walls: "jail kvm"},
	{call: "landlock_restrict_self", errno: "EPERM", walls: "jail kvm"},
	{call: "seccomp", errno: "EINVAL", walls: "jail kvm"},
	{call: "socketpair", errno: "EMFILE", fatal: true, walls: "none"},
	{call: "sendmsg", errno: "EIO", walls: "none jail kvm"},
	{call: "recvmsg", errno: "EIO", walls: "none jail kvm"},
	{call: "prlimit64", errno: "EPERM", walls: "none"},
	{call: "execve", errno: "ENOMEM", walls: "jail"},
	{call: "clone", errno: "EAGAIN", walls: ""},
	{call: "ioctl", errno: "EIO", walls: "kvm"},
	{call: "ioctl", errno: "ENOMEM", walls: "kvm"},
}

// copies are the commands that are run; out is there before.
var copies = []string{
	"dd -O raw if=in.raw of=out",
	"convert -O qcow2 -c in.qcow2 out",
	"convert -t none -W -O raw zip.qcow2 out",
	"convert -O vmdk in.qcow2 out",
}

// Each system call on the way of the data fails, the first time that a thread
// makes it, and the second, and so on.
func TestCallsFail(t *testing.T) {
	strace(t)
	occurrences, commands := 1, copies[:2]
	if complete() {
		occurrences, commands = 5, copies
	}
	var runs, happened, failed atomic.Int64
	t.Run("all", func(t *testing.T) {
		for k, f := range faults {
			for w, wall := range walls() {
				if f.walls != "" && !strings.Contains(f.walls, wall) {
					continue
				}
				if !complete() && f.walls == "" && w != k%3 {
					continue
				}
				t.Run(f.call+"/"+f.errno+"/"+wall, func(t *testing.T) {
					t.Parallel()
					d := newFixture(t)
					for _, command := range commands {
						for n := max(f.first, 1); n < max(f.first, 1)+occurrences; n++ {
							hit, ok := d.inject(t, f, n, command, wall)
							runs.Add(1)
							if hit {
								happened.Add(1)
							}
							if !ok {
								failed.Add(1)
							}
							d.renew(t)
							if !hit {
								break
							}
						}
					}
				})
			}
		}
	})
	t.Logf("%d runs; a call failed in %d of them, and %d ended for it", runs.Load(), happened.Load(), failed.Load())
	if happened.Load() == 0 || failed.Load() == 0 {
		t.Error("no call failed: the test shows nothing")
	}
}

// What is to be on the disk in the end is sent there while more is written; that
// this fails matters to nobody.
func TestWriteBackFails(t *testing.T) {
	d := newFixture(t)
	f := fault{call: "sync_file_range", errno: "EIO"}
	hit, ok := d.inject(t, f, 1, "convert -t writeback -r 2M -O raw in.raw out", "jail")
	if !hit || !ok {
		t.Errorf("it was tried: %v; the copy succeeded: %v", hit, ok)
	}
	if hit, ok = d.inject(t, f, 1, "convert -r 2M -O raw in.raw out", "jail"); hit || !ok {
		t.Errorf("what needs not be on the disk is sent there: %v; the copy succeeded: %v", hit, ok)
	}
}

// inject runs a command in which a call fails, and says whether it came to that
// and whether the command succeeded.
func (f *fixture) inject(t *testing.T, fault fault, n int, command, wall string) (hit, ok bool) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	words := strings.Fields(command)
	args := append([]string{
		"-f", "-qq", "-o", trace, "-e", "trace=" + fault.call, "-e", "signal=none",
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", fault.call, fault.errno, n),
		program.Instar(), words[0], "--sandbox=" + wall,
	}, words[1:]...)
	r := run{program.Run(t, f.dir, nil, strace(t), args...), fmt.Sprintf("%s behind %s, where %s number %d fails with %s", command, wall, fault.call, n, fault.errno)}
	ok = f.check(t, r)
	log, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	hit = strings.Contains(string(log), "(INJECTED)")
	if hit && ok && fault.fatal {
		t.Errorf("%s: it succeeds", r.what)
	}
	if !hit && !ok {
		t.Errorf("%s: no call failed, and the run did: %q", r.what, r.Stderr)
	}
	return hit, ok
}
