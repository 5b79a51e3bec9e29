//go:build linux && amd64

package attack

import (
	"golang.org/x/sys/unix"
)

const (
	inputText  = "what the image holds"
	outputText = "what was copied"
	ceiling    = 1 << 16
)

// How an attack can come out besides an error number.
const (
	killed  = "killed"  // for a system call that is not in the table
	crashed = "crashed" // by a fault
	starved = "starved" // at its memory limit
	crowded = "crowded" // at its limit of threads
	left    = "left"    // exited by itself
)

// An attack is one thing that a worker tries.
type attack struct {
	name string
	do   func(*worker) (int64, error)
	want []string // how it may come out, in either wall
}

func expect(outcomes ...string) []string { return outcomes }

// attacks that are each a system call outside of the table end the worker.
var attacks = append(forbidden(), []attack{
	{"be honest", prove, expect("ok 15")},
	{"be a Go program", ordinary, expect("ok 0")},

	// Calls of the table with arguments that it does not allow.
	{"map executable", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON, -1, 0), expect(killed)},
	{"map a file", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, input, 0), expect(killed)},
	{"map a file shared", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, output, 0), expect(killed)},
	{"map shared memory", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_ANON, -1, 0), expect(killed)},
	{"fork by clone", call(unix.SYS_CLONE, int(unix.SIGCHLD), 0), expect(killed)},
	{"a user namespace by clone", call(unix.SYS_CLONE, unix.CLONE_NEWUSER|int(unix.SIGCHLD), 0), expect(killed)},
	{"futex on shared memory", call(unix.SYS_FUTEX, buffer, 1, 1), expect(killed)},
	{"merge pages", call(unix.SYS_MADVISE, nowhere, 4096, unix.MADV_MERGEABLE), expect(killed)},
	{"poison memory", call(unix.SYS_MADVISE, program, 4096, unix.MADV_HWPOISON), expect(killed)},
	{"set a position", call(unix.SYS_LSEEK, input, 0, unix.SEEK_SET), expect(killed)},
	{"punch a hole and set the length", call(unix.SYS_FALLOCATE, output, unix.FALLOC_FL_PUNCH_HOLE, 0, 4096), expect(killed)},
	{"allocate and keep the length, which has no limit", call(unix.SYS_FALLOCATE, output, unix.FALLOC_FL_KEEP_SIZE, ceiling, 4096), expect(killed)},
	{"collapse a range", call(unix.SYS_FALLOCATE, output, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), expect(killed)},
	{"copy with flags", call(unix.SYS_COPY_FILE_RANGE, input, 0, output, 0, 1, 1), expect(killed)},
	{"process clock", call(unix.SYS_CLOCK_GETTIME, unix.CLOCK_PROCESS_CPUTIME_ID, buffer), expect(killed)},
	{"receive from a file", call(unix.SYS_RECVMSG, input, buffer, 0), expect(killed, "EBADF")},

	// Calls that are refused without harm.
	{"open files", manyFiles, expect("ENOENT")},
	{"raise the size limit", call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_FSIZE, buffer, 0), expect("EPERM")},
	{"lower the host's limits", call(unix.SYS_PRLIMIT64, host, unix.RLIMIT_CPU, buffer, 0), expect("EPERM")},
	{"be dumpable", call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1), expect("EINVAL")},
	{"ask for more privileges", call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, 21), expect("EINVAL")},

	// Descriptors used for what they are not for.
	{"look for descriptors", everyDescriptor, expect("EBADF")},
	{"write to the input", call(unix.SYS_PWRITE64, input, buffer, 1, 0), expect("EBADF")},
	{"write to the input's position", call(unix.SYS_WRITE, input, buffer, 1), expect("EBADF")},
	{"cut the input", call(unix.SYS_FTRUNCATE, input, 0), expect("EBADF", "EINVAL")},
	{"allocate in the input", call(unix.SYS_FALLOCATE, input, 0, 0, 4096), expect("EBADF")},
	{"zero the input", call(unix.SYS_FALLOCATE, input, unix.FALLOC_FL_ZERO_RANGE, 0, 4096), expect("EBADF")},
	{"punch a hole into the input", call(unix.SYS_FALLOCATE, input, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096), expect("EBADF")},
	{"read the output", call(unix.SYS_PREAD64, output, buffer, 1, 0), expect("EBADF")},
	{"read the output's position", call(unix.SYS_READ, output, buffer, 1), expect("EBADF")},
	{"copy into the input", copyRange(input, input, 0, 4), expect("EBADF")},
	{"copy from the output", copyRange(output, output, 0, 4), expect("EBADF")},
	{"write beyond the ceiling", call(unix.SYS_PWRITE64, output, buffer, 1, ceiling), expect("EFBIG")},
	{"write far beyond the ceiling", call(unix.SYS_PWRITE64, output, buffer, 1, 1<<62), expect("EFBIG")},
	{"write across the ceiling", call(unix.SYS_PWRITE64, output, buffer, 2, ceiling-1), expect("EFBIG", "ok 1")},
	{"extend beyond the ceiling", call(unix.SYS_FTRUNCATE, output, ceiling+1), expect("EFBIG")},
	{"allocate beyond the ceiling", call(unix.SYS_FALLOCATE, output, 0, ceiling, 1), expect("EFBIG")},
	{"zero beyond the ceiling", call(unix.SYS_FALLOCATE, output, unix.FALLOC_FL_ZERO_RANGE, ceiling, 4096), expect("EFBIG", "ENOTSUP")},
	{"copy beyond the ceiling", copyRange(input, output, ceiling, 4), expect("EFBIG")},
	{"copy across the ceiling", copyRange(input, output, ceiling-1, 4), expect("EFBIG", "ok 1")},
	{"pass the input out", smuggle, expect(killed)},
	{"close the control channel", call(unix.SYS_CLOSE, 3), expect(killed, "EBADF")},

	// Memory and processor.
	{"use a quarter of its memory", quarter, expect("ok 64")},
	{"use it again and again", recycle, expect("ok 0")},
	{"start 1000 threads", bomb, expect(crowded, "ok 1000")},
	{"take 4 GiB of heap", exhaust, expect(starved)},
	{"map 4 GiB", mapAll, expect("ENOMEM", starved)},
	{"map half of all addresses", call(unix.SYS_MMAP, 0, 1<<46, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, -1, 0), expect("ENOMEM")},
	{"panic", die("a \x1b[31mred\nlie"), expect(left)},
	{"flood standard error", flood, expect("ok 0", left)},
	{"leave without a word", leave, expect(left)},
	{"halt the processor", instruction(halt), expect(crashed)},
	{"write to a port", instruction(portOut), expect(crashed)},
	{"read CR3", instruction(readCR3), expect(crashed)},
	{"write an MSR", instruction(writeMSR), expect(crashed)},
	{"execute nonsense", instruction(invalidOpcode), expect(crashed)},
	{"make a 32-bit system call", instruction(int80), expect(killed, crashed)},
	{"jump into a kernel", jumpTo(0xffff_ffff_8100_0000), expect(crashed)},
	{"jump to a non-canonical address", jumpTo(0x8000_0000_0000_0000), expect(crashed)},
	{"jump to nowhere", jumpTo(0x1234_5678_9000), expect(crashed)},
	{"jump to data", jumpToData, expect(crashed)},

	// Pointers that lead nowhere, in every call that takes one.
	{"bad pointer to pread64", call(unix.SYS_PREAD64, input, nowhere, 16, 0), expect("EFAULT")},
	{"kernel pointer to pread64", call(unix.SYS_PREAD64, input, kernel, 16, 0), expect("EFAULT")},
	{"program pointer to pread64", call(unix.SYS_PREAD64, input, program, 16, 0), expect("EFAULT")},
	{"bad pointer to pwrite64", call(unix.SYS_PWRITE64, output, nowhere, 16, 0), expect("EFAULT")},
	{"kernel pointer to pwrite64", call(unix.SYS_PWRITE64, output, kernel, 16, 0), expect("EFAULT")},
	{"bad pointer to copy_file_range", call(unix.SYS_COPY_FILE_RANGE, input, nowhere, output, kernel, 1, 0), expect("EFAULT")},
	{"bad pointer to write", call(unix.SYS_WRITE, 3, nowhere, 16), expect("EFAULT")},
	{"bad pointer to recvmsg", call(unix.SYS_RECVMSG, 3, nowhere, 0), expect("EFAULT")},
	{"kernel pointer to recvmsg", call(unix.SYS_RECVMSG, 3, kernel, 0), expect("EFAULT")},
	{"bad pointer to getrandom", call(unix.SYS_GETRANDOM, nowhere, 16, 0), expect("EFAULT")},
	{"bad pointer to clock_gettime", call(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, nowhere), expect("EFAULT")},
	{"bad pointer to nanosleep", call(unix.SYS_NANOSLEEP, nowhere, 0), expect("EFAULT")},
	{"bad pointer to futex", call(unix.SYS_FUTEX, nowhere, 128, 0, 0), expect("EFAULT")},
	{"bad pointer to munmap", call(unix.SYS_MUNMAP, 1, 4096), expect("EINVAL")},
	{"kernel range to munmap", call(unix.SYS_MUNMAP, kernel, 4096), expect("EINVAL")},
	{"kernel range to madvise", call(unix.SYS_MADVISE, kernel, 4096, unix.MADV_DONTNEED), expect("EINVAL", "ENOMEM")},
}...)

// copyRange has the kernel copy from the beginning of one file into another.
func copyRange(from, to placeholder, offset int64, n int) func(*worker) (int64, error) {
	return func(w *worker) (int64, error) {
		var start int64
		n, err := unix.CopyFileRange(int(w.place(from)), &start, int(w.place(to)), &offset, n, 0)
		return int64(n), err
	}
}

// forbidden are system calls outside of the table.
func forbidden() []attack {
	const x32 = 0x4000_0000
	var all []attack
	for name, do := range map[string]func(*worker) (int64, error){
		"open":              call(unix.SYS_OPEN, "/etc/passwd", 0, 0),
		"openat2":           call(unix.SYS_OPENAT2, unix.AT_FDCWD, "/etc/passwd", buffer, 24),
		"creat":             call(unix.SYS_CREAT, "/tmp/pwned", 0o777),
		"open_by_handle_at": call(unix.SYS_OPEN_BY_HANDLE_AT, input, buffer, 0),
		"stat":              call(unix.SYS_STAT, "/etc/passwd", buffer),
		"readlink":          call(unix.SYS_READLINK, "/proc/self/exe", buffer, 4096),
		"getdents64":        call(unix.SYS_GETDENTS64, input, buffer, 4096),
		"truncate":          call(unix.SYS_TRUNCATE, "/tmp/pwned", 0),
		"unlink":            call(unix.SYS_UNLINK, "/tmp/pwned"),
		"rename":            call(unix.SYS_RENAME, "/tmp/a", "/tmp/b"),
		"linkat":            call(unix.SYS_LINKAT, input, "", unix.AT_FDCWD, "/tmp/pwned", unix.AT_EMPTY_PATH),
		"fchmod":            call(unix.SYS_FCHMOD, input, 0o777),
		"fchown":            call(unix.SYS_FCHOWN, input, 0, 0),
		"chdir":             call(unix.SYS_CHDIR, "/"),
		"chroot":            call(unix.SYS_CHROOT, "/"),
		"mknod":             call(unix.SYS_MKNOD, "/tmp/pwned", unix.S_IFBLK, 0x800),
		"mount":             call(unix.SYS_MOUNT, "none", "/tmp", "tmpfs", 0, 0),
		"umount2":           call(unix.SYS_UMOUNT2, "/", unix.MNT_DETACH),
		"pivot_root":        call(unix.SYS_PIVOT_ROOT, "/", "/"),
		"fsopen":            call(unix.SYS_FSOPEN, "tmpfs", 0),
		"inotify_init1":     call(unix.SYS_INOTIFY_INIT1, 0),
		"fanotify_init":     call(unix.SYS_FANOTIFY_INIT, 0, 0),

		"socket":     call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0),
		"socket raw": call(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0),
		"connect":    call(unix.SYS_CONNECT, 3, buffer, 16),
		"bind":       call(unix.SYS_BIND, 3, buffer, 16),
		"sendto":     call(unix.SYS_SENDTO, 3, buffer, 1, 0, 0, 0),
		"sendmsg":    call(unix.SYS_SENDMSG, 3, buffer, 0),
		"socketpair": call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, buffer),
		"pipe2":      call(unix.SYS_PIPE2, buffer, 0),

		"execve":   call(unix.SYS_EXECVE, "/bin/sh", 0, 0),
		"execveat": call(unix.SYS_EXECVEAT, input, "", 0, 0, unix.AT_EMPTY_PATH),
		"fork":     call(unix.SYS_FORK),
		"vfork":    call(unix.SYS_VFORK),
		"clone3":   call(unix.SYS_CLONE3, buffer, 88),
		"unshare":  call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"setns":    call(unix.SYS_SETNS, input, 0),
		"setuid":   call(unix.SYS_SETUID, 0),
		"capset":   call(unix.SYS_CAPSET, buffer, buffer),
		"seccomp":  call(unix.SYS_SECCOMP, 1, 0, 0),
		"wait4":    call(unix.SYS_WAIT4, -1, 0, 0, 0),

		"kill the host":          call(unix.SYS_KILL, host, int(unix.SIGKILL)),
		"kill everybody":         call(unix.SYS_KILL, -1, int(unix.SIGKILL)),
		"tkill the host":         call(unix.SYS_TKILL, host, int(unix.SIGKILL)),
		"tgkill the host":        call(unix.SYS_TGKILL, host, host, int(unix.SIGKILL)),
		"ptrace the host":        call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, host, 0, 0),
		"ptrace itself":          call(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0),
		"read the host's memory": call(unix.SYS_PROCESS_VM_READV, host, transfer, 1, transfer, 1, 0),
		"write the host's memory": func(w *worker) (int64, error) {
			v := w.place(transfer)
			return call(unix.SYS_PROCESS_VM_WRITEV, host, uint64(v), 1, uint64(v+16), 1, 0)(w)
		},
		"pidfd_open the host":        call(unix.SYS_PIDFD_OPEN, host, 0),
		"pidfd_getfd":                call(unix.SYS_PIDFD_GETFD, 4, 1, 0),
		"kcmp":                       call(unix.SYS_KCMP, host, host, 0, 0, 0),
		"sched_setaffinity the host": call(unix.SYS_SCHED_SETAFFINITY, host, 8, buffer),

		"ioctl":         call(unix.SYS_IOCTL, 0, unix.TIOCSTI, "x"),
		"ioctl clone":   call(unix.SYS_IOCTL, output, unix.FICLONE, input),
		"dup":           call(unix.SYS_DUP, 3),
		"dup2":          call(unix.SYS_DUP2, input, 9),
		"sendfile":      call(unix.SYS_SENDFILE, 3, input, 0, 10),
		"splice":        call(unix.SYS_SPLICE, input, 0, output, 0, 1, 0),
		"readv":         call(unix.SYS_READV, input, transfer, 1),
		"fsync":         call(unix.SYS_FSYNC, output),
		"memfd_create":  call(unix.SYS_MEMFD_CREATE, "x", 0),
		"memfd_secret":  call(unix.SYS_MEMFD_SECRET, 0),
		"mprotect":      call(unix.SYS_MPROTECT, program, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC),
		"pkey_mprotect": call(unix.SYS_PKEY_MPROTECT, program, 4096, unix.PROT_READ|unix.PROT_WRITE, -1),
		"mremap":        call(unix.SYS_MREMAP, buffer, 4096, 8192, 1),
		"mlockall":      call(unix.SYS_MLOCKALL, 3),
		"remap_pages":   call(unix.SYS_REMAP_FILE_PAGES, buffer, 4096, 0, 0, 0),
		"shmget":        call(unix.SYS_SHMGET, 1, 4096, 0o1777),
		"msgget":        call(unix.SYS_MSGGET, 1, 0o1777),
		"mq_open":       call(unix.SYS_MQ_OPEN, "x", unix.O_CREAT, 0o777, 0),

		"io_uring_setup":     call(unix.SYS_IO_URING_SETUP, 8, buffer),
		"io_setup":           call(unix.SYS_IO_SETUP, 8, buffer),
		"bpf":                call(unix.SYS_BPF, 0, buffer, 64),
		"userfaultfd":        call(unix.SYS_USERFAULTFD, 0),
		"perf_event_open":    call(unix.SYS_PERF_EVENT_OPEN, buffer, 0, -1, -1, 0),
		"keyctl":             call(unix.SYS_KEYCTL, 0, -3, 1),
		"add_key":            call(unix.SYS_ADD_KEY, "user", "x", buffer, 1, -3),
		"init_module":        call(unix.SYS_INIT_MODULE, buffer, 1, ""),
		"kexec_load":         call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0),
		"iopl":               call(unix.SYS_IOPL, 3),
		"modify_ldt":         call(unix.SYS_MODIFY_LDT, 1, buffer, 16),
		"personality":        call(unix.SYS_PERSONALITY, 0x0040_0000),
		"reboot":             call(unix.SYS_REBOOT, 0xfee1dead, 672274793, 0, 0),
		"settimeofday":       call(unix.SYS_SETTIMEOFDAY, buffer, 0),
		"sethostname":        call(unix.SYS_SETHOSTNAME, "pwned", 5),
		"syslog":             call(unix.SYS_SYSLOG, 3, buffer, 4096),
		"timer_create":       call(unix.SYS_TIMER_CREATE, 0, 0, buffer),
		"rt_sigreturn":       call(unix.SYS_RT_SIGRETURN),
		"restart_syscall":    call(unix.SYS_RESTART_SYSCALL),
		"set_robust_list":    call(unix.SYS_SET_ROBUST_LIST, buffer, 24),
		"landlock":           call(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1),
		"no such call":       call(9999),
		"a negative call":    call(^uintptr(0)),
		"a call of x32":      call(x32|unix.SYS_OPENAT, unix.AT_FDCWD, "/etc/passwd", 0, 0),
		"getpid by x32":      call(x32 | unix.SYS_GETPID),
		"process_madvise":    call(unix.SYS_PROCESS_MADVISE, 4, transfer, 1, 4, 0),
		"move_pages":         call(unix.SYS_MOVE_PAGES, host, 1, buffer, 0, buffer, 0),
		"quotactl":           call(unix.SYS_QUOTACTL, 0, "x", 0, buffer),
		"set_mempolicy":      call(unix.SYS_SET_MEMPOLICY, 0, 0, 0),
		"name_to_handle":     call(unix.SYS_NAME_TO_HANDLE_AT, input, "", buffer, buffer, unix.AT_EMPTY_PATH),
		"vmsplice":           call(unix.SYS_VMSPLICE, output, transfer, 1, 0),
		"sync_file_range":    call(unix.SYS_SYNC_FILE_RANGE, output, 0, 0, 0),
		"sched_setscheduler": call(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, buffer),
	} {
		want := expect(killed)
		if name == "a call of x32" || name == "getpid by x32" || name == "a negative call" {
			want = expect(killed, "ENOSYS") // there is no such call
		}
		if name == "restart_syscall" {
			want = expect(killed, "EINTR") // in the jail: nothing was interrupted
		}
		all = append(all, attack{name: name, do: do, want: want})
	}
	return all
}
