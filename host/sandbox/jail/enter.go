package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// Enter locks the calling process in, all its threads, for good: what it still
// has afterwards are the calls of the table, the descriptors 0 to 3, and
// memory up to its limit. It must be the first thing that the program does. If
// it fails, the process is not locked in and must not touch an image.
func Enter() error {
	o, err := parseOrder(os.Args)
	if err != nil {
		return fmt.Errorf("the jail is started by the program itself: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(order) error
	}{
		{"close inherited descriptors", closeOthers},
		{"set resource limits", setLimits},
		{"leave the file system", leaveFiles},
		{"forbid core dumps", func(order) error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
		{"lock by Landlock", func(order) error { return restrictPaths() }},
		{"drop capabilities", func(order) error { return dropCapabilities() }},
		{"reset signals", func(order) error { return resetSignals() }},
		{"start timers", startTimers},
		{"lock by seccomp", func(order) error { return filterCalls() }},
	} {
		if err := step.do(o); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func parseOrder(args []string) (o order, err error) {
	if len(args) != 2 {
		return o, errors.New("it takes one argument")
	}
	d := json.NewDecoder(bytes.NewReader([]byte(args[1])))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, err
	}
	if o.Memory <= 0 {
		return o, fmt.Errorf("memory limit %d", o.Memory)
	}
	return o, nil
}

// closeOthers closes what the program's caller left open.
func closeOthers(order) error {
	err := unix.CloseRange(wall.ControlDescriptor+1, math.MaxUint32, 0)
	if err != unix.ENOSYS {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for fd := wall.ControlDescriptor + 1; fd < int(min(limit.Cur, 1<<20)); fd++ {
		unix.Close(fd)
	}
	return nil
}

// maxThreads bounds the worker's threads where the kernel counts those of a
// user namespace apart: far beyond what the scheduler and calls that block take.
func maxThreads() uint64 { return uint64(max(256, 4*runtime.GOMAXPROCS(0))) }

// setLimits bounds what the worker takes up. Since it can only map private
// memory (see the table), RLIMIT_DATA bounds all of it. The limit of what it
// may write is raised from outside when an output is granted.
func setLimits(o order) error {
	limits := map[int]uint64{
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_NOFILE: wall.MaxDescriptors,
		unix.RLIMIT_DATA:   runtimeData() + uint64(o.Memory),
	}
	if o.Spaces&unix.CLONE_NEWUSER != 0 && threadsCountApart() {
		limits[unix.RLIMIT_NPROC] = maxThreads()
	}
	for resource, limit := range limits {
		var old unix.Rlimit
		if err := unix.Getrlimit(resource, &old); err != nil {
			return err
		}
		limit = min(limit, old.Max)
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	var size unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &size); err != nil {
		return err
	}
	size.Cur = 0
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &size)
}

// usualData is about what the Go runtime has mapped for itself when a program
// starts, in bytes; most of it is never touched.
const usualData = 96 << 20

// runtimeData returns how much memory that can be written to is mapped already,
// in bytes.
func runtimeData() uint64 {
	b, err := readSmall("/proc/self/statm")
	if err != nil {
		return usualData
	}
	var pages [6]uint64
	if _, err := fmt.Sscan(string(b), &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5]); err != nil {
		return usualData
	}
	return pages[5] * uint64(os.Getpagesize())
}

// readSmall reads a small file without what package os sets up for large ones.
func readSmall(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 256)
	n, err := unix.Read(fd, b)
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return b[:max(n, 0)], err
}

// threadsCountApart reports whether RLIMIT_NPROC counts the threads of a user
// namespace apart from the user's others: since Linux 5.14.
func threadsCountApart() bool {
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 14
}

// startTimers has the runtime make what it needs for timers, while it can.
func startTimers(order) error {
	time.AfterFunc(time.Hour, func() {}).Stop()
	return nil
}
