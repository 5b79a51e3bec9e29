package wall

import "golang.org/x/sys/unix"

// A Group is a part of the table.
type Group struct {
	Name  string
	Calls []Call
}

// Flags that package unix does not name: include/uapi/linux/mman.h, futex.h,
// and how the Go runtime makes a thread.
const (
	mapDroppable = 0x08
	futexPrivate = 128

	// ThreadFlags are the flags of clone that make a thread of this process.
	ThreadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_SYSVSEM | unix.CLONE_THREAD | unix.CLONE_SETTLS
)

// Table is the table.
var Table = []Group{
	{Name: "Memory", Calls: []Call{
		{
			Number: unix.SYS_MMAP, Name: "mmap",
			For: "memory for the Go heap: never from a file, never executable",
			Args: []Arg{
				{Index: 2, Name: "prot", Bits: []Value{{"PROT_READ", unix.PROT_READ}, {"PROT_WRITE", unix.PROT_WRITE}}},
				{Index: 3, Name: "flags", OneOf: []Value{
					{"MAP_PRIVATE|MAP_ANONYMOUS", unix.MAP_PRIVATE | unix.MAP_ANONYMOUS},
					{"MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED", unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED},
					{"MAP_DROPPABLE|MAP_ANONYMOUS", mapDroppable | unix.MAP_ANONYMOUS},
				}},
			},
		},
		{Number: unix.SYS_MUNMAP, Name: "munmap", For: "give back what was reserved in excess"},
		{
			Number: unix.SYS_MADVISE, Name: "madvise",
			For: "give memory back that the garbage collector freed",
			Args: []Arg{{Index: 2, Name: "advice", OneOf: []Value{
				{"MADV_DONTNEED", unix.MADV_DONTNEED},
				{"MADV_HUGEPAGE", unix.MADV_HUGEPAGE},
				{"MADV_NOHUGEPAGE", unix.MADV_NOHUGEPAGE},
				{"MADV_COLLAPSE", unix.MADV_COLLAPSE},
			}}},
		},
	}},
	{Name: "Threads", Calls: append([]Call{
		{
			Number: unix.SYS_CLONE, Name: "clone",
			For: "a thread of the Go scheduler: never a process, never a namespace",
			Args: []Arg{{Index: 0, Name: "flags", OneOf: []Value{
				{"CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|SETTLS", ThreadFlags},
			}}},
		},
		{Number: unix.SYS_EXIT, Name: "exit", For: "end a thread"},
		{Number: unix.SYS_EXIT_GROUP, Name: "exit_group", For: "end the worker"},
		{Number: unix.SYS_GETTID, Name: "gettid", For: "a thread asks its number when it begins"},
		{
			Number: unix.SYS_FUTEX, Name: "futex",
			For: "wait for another thread, and wake it",
			Args: []Arg{{Index: 1, Name: "op", OneOf: []Value{
				{"FUTEX_WAIT_PRIVATE", futexPrivate},
				{"FUTEX_WAKE_PRIVATE", futexPrivate | 1},
			}}},
		},
		{Number: unix.SYS_SCHED_YIELD, Name: "sched_yield", For: "let another thread run"},
		{Number: unix.SYS_SCHED_GETAFFINITY, Name: "sched_getaffinity", For: "count the processors", Start: true},
		{Number: unix.SYS_RT_SIGACTION, Name: "rt_sigaction", For: "install the runtime's signal handlers", Start: true},
		{Number: unix.SYS_RT_SIGPROCMASK, Name: "rt_sigprocmask", For: "keep signals away from a thread until it is ready"},
		{Number: unix.SYS_SIGALTSTACK, Name: "sigaltstack", For: "a stack for signal handlers in each thread"},
	}, archCalls...)},
	{Name: "Time and chance", Calls: []Call{
		{Number: unix.SYS_NANOSLEEP, Name: "nanosleep", For: "the scheduler's short pauses"},
		{
			Number: unix.SYS_CLOCK_GETTIME, Name: "clock_gettime",
			For: "tell the time where the vDSO cannot",
			Args: []Arg{{Index: 0, Name: "clock", OneOf: []Value{
				{"CLOCK_REALTIME", unix.CLOCK_REALTIME}, {"CLOCK_MONOTONIC", unix.CLOCK_MONOTONIC},
			}}},
		},
		{Number: unix.SYS_GETRANDOM, Name: "getrandom", For: "identifiers of new images"},
	}},
	{Name: "Timers", Calls: []Call{
		{Number: unix.SYS_EPOLL_CREATE1, Name: "epoll_create1", For: "what the scheduler waits on while a timer runs", Start: true},
		{Number: unix.SYS_EVENTFD2, Name: "eventfd2", For: "what wakes the scheduler from there", Start: true},
		{
			Number: unix.SYS_EPOLL_CTL, Name: "epoll_ctl",
			For: "put the one into the other", Start: true,
			Args: []Arg{{Index: 0, Name: "epfd", Descriptor: Poll}, {Index: 2, Name: "fd", Descriptor: Event}},
		},
		{
			Number: unix.SYS_EPOLL_PWAIT, Name: "epoll_pwait",
			For:  "wait until a timer is due",
			Args: []Arg{{Index: 0, Name: "epfd", Descriptor: Poll}},
		},
		{
			Number: unix.SYS_READ, Name: "read",
			For:  "reset the eventfd after a wake-up",
			Args: []Arg{{Index: 0, Name: "fd", Descriptor: Event}},
		},
	}},
	{Name: "The control channel", Calls: []Call{
		{
			Number: unix.SYS_RECVMSG, Name: "recvmsg",
			For:  "receive a job, and the descriptors granted for it",
			Args: []Arg{{Index: 0, Name: "sockfd", Descriptor: Control}},
		},
		{
			Number: unix.SYS_WRITE, Name: "write",
			For:  "send an answer; wake the scheduler; say what went wrong before dying",
			Args: []Arg{{Index: 0, Name: "fd", Descriptor: Control | Event | Standard}},
		},
		{
			Number: unix.SYS_CLOSE, Name: "close",
			For:  "let go of a descriptor that was taken back",
			Args: []Arg{{Index: 0, Name: "fd", Descriptor: Granted | Event | Poll}},
		},
		{
			Number: unix.SYS_FCNTL, Name: "fcntl",
			For: "see that the first three descriptors are there", Start: true,
			Args: []Arg{
				{Index: 0, Name: "fd", Descriptor: Any},
				{Index: 1, Name: "cmd", OneOf: []Value{{"F_GETFD", unix.F_GETFD}, {"F_GETFL", unix.F_GETFL}}},
			},
		},
	}},
	{Name: "Images", Calls: []Call{
		{
			Number: unix.SYS_PREAD64, Name: "pread64",
			For:  "read an input",
			Args: []Arg{{Index: 0, Name: "fd", Descriptor: Input}},
		},
		{
			Number: unix.SYS_LSEEK, Name: "lseek",
			For: "how long an input is, and where it has data and holes",
			Args: []Arg{
				{Index: 0, Name: "fd", Descriptor: Input},
				{Index: 2, Name: "whence", OneOf: []Value{
					{"SEEK_END", unix.SEEK_END},
					{"SEEK_DATA", unix.SEEK_DATA},
					{"SEEK_HOLE", unix.SEEK_HOLE},
					{"SEEK_RUNS, the microVM's own", SeekRuns},
				}},
			},
		},
		{
			Number: unix.SYS_PWRITE64, Name: "pwrite64",
			For: "write the output",
			Args: []Arg{
				{Index: 0, Name: "fd", Descriptor: Output},
				{Index: 2, Name: "offset + count", Ceiling: true},
			},
		},
		{
			Number: unix.SYS_COPY_FILE_RANGE, Name: "copy_file_range",
			For: "have the kernel move stored bytes from an input to the output",
			Args: []Arg{
				{Index: 0, Name: "fd_in", Descriptor: Input},
				{Index: 2, Name: "fd_out", Descriptor: Output},
				{Index: 3, Name: "*off_out + size", Ceiling: true},
				{Index: 5, Name: "flags", OneOf: []Value{
					{"0", 0},
					{"LEAVE_ZEROS, the microVM's own", LeaveZeros},
					{"LEAVE_ZEROS|SKIP_HOLES, the microVM's own", LeaveZeros | SkipHoles},
				}},
			},
		},
		{
			Number: unix.SYS_FALLOCATE, Name: "fallocate",
			For: "allocate a range of the output, have it read as zeros, or give its space up",
			Args: []Arg{
				{Index: 0, Name: "fd", Descriptor: Output},
				{Index: 1, Name: "mode", OneOf: []Value{
					{"0", 0},
					{"FALLOC_FL_ZERO_RANGE", unix.FALLOC_FL_ZERO_RANGE},
					{"FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE", unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE},
				}},
				{Index: 2, Name: "offset + size", Ceiling: true},
			},
		},
		{
			Number: unix.SYS_FTRUNCATE, Name: "ftruncate",
			For: "set the output's length",
			Args: []Arg{
				{Index: 0, Name: "fd", Descriptor: Output},
				{Index: 1, Name: "length", Ceiling: true},
			},
		},
		{
			Number: unix.SYS_FDATASYNC, Name: "fdatasync",
			For:  "put the output on stable storage",
			Args: []Arg{{Index: 0, Name: "fd", Descriptor: Output}},
		},
	}},
	{Name: "Refused without harm", Calls: []Call{
		{Number: unix.SYS_OPENAT, Name: "openat", For: "the runtime looks for the size of huge pages, the time package for a time zone", Refusal: unix.ENOENT},
		{Number: unix.SYS_PRCTL, Name: "prctl", For: "the runtime names its mappings", Refusal: unix.EINVAL},
		{Number: unix.SYS_PRLIMIT64, Name: "prlimit64", For: "package os raises the number of open files", Refusal: unix.EPERM},
		{Number: unix.SYS_UNAME, Name: "uname", For: "the standard library asks for the kernel's version", Refusal: unix.ENOSYS},
	}},
}
