//go:build linux && amd64

package kvm

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"instar/job"
	"instar/job/wall"
)

// fakeProcessors stands in for virtual processors.
type fakeProcessors struct {
	threads int
	limit   int
	fsBase  uint64
}

func (p *fakeProcessors) spawn(_ *thread, _, _ uint64) (uint64, unix.Errno) {
	if p.threads >= p.limit {
		return 0, unix.EAGAIN
	}
	p.threads++
	return uint64(p.threads), 0
}

func (p *fakeProcessors) setFSBase(_ *thread, base uint64) unix.Errno {
	p.fsBase = base
	return 0
}

func (p *fakeProcessors) exit(*thread) bool {
	p.threads--
	return p.threads == 0
}

// A fixture is a guest without a machine: addresses that are mapped in one way
// and another, and files.
type fixture struct {
	t       testing.TB
	g       *guest
	thread  *thread
	cpus    *fakeProcessors
	host    int // the host's end of the control channel
	in, out *os.File

	buf      uint64 // 64 KiB, writable
	readOnly uint64 // a page that can only be read
	edge     uint64 // the last byte that is mapped before a hole
	reserved uint64 // a page of PROT_NONE

	kinds map[wall.Kind]uint64 // see descriptors
}

const (
	nowhere  = 0x1234_5678_9000
	inSize   = 10000
	ceiling  = 8192
	inputNo  = firstGranted
	outputNo = firstGranted + 1
	testRAM  = 64 << 20
)

func newFixture(t testing.TB) *fixture {
	t.Helper()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	m, err := newMemory(testRAM, int(exe.Fd()), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.release)
	s, err := newSpace(m)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	f := &fixture{t: t, thread: &thread{id: 1}, cpus: &fakeProcessors{threads: 1, limit: 3}, host: pair[0]}
	if f.g, err = newGuest(s, f.cpus, pair[1]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(f.g.poll.fd) })
	f.readOnly = vdsoAddress
	f.buf = f.must(unix.SYS_MMAP, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFD)
	f.reserved = f.must(unix.SYS_MMAP, 0, pageSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFD)
	two := f.must(unix.SYS_MMAP, 0, 2*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFD)
	f.must(unix.SYS_MUNMAP, two+pageSize, pageSize)
	f.edge = two + pageSize - 1
	f.files()
	return f
}

const (
	noFD      = math.MaxUint64
	archSetFS = 0x1002
)

func (f *fixture) files() {
	f.t.Helper()
	f.in, f.out = f.file("in"), f.file("out")
	content := make([]byte, inSize)
	for i := range content {
		content[i] = byte(i%250) + 1
	}
	if _, err := f.in.Write(content); err != nil {
		f.t.Fatal(err)
	}
	for _, g := range []struct {
		file  *os.File
		grant job.Grant
	}{{f.in, job.Grant{Access: job.Read}}, {f.out, job.Grant{Access: job.Write, Ceiling: ceiling}}} {
		fd, err := unix.Dup(int(g.file.Fd()))
		if err != nil {
			f.t.Fatal(err)
		}
		number, errno := f.g.files.grant(fd, &g.grant)
		if errno != 0 {
			f.t.Fatal(errno)
		}
		f.t.Cleanup(func() { f.g.files.remove(uint64(number)) })
	}
}

// file returns a file in memory.
func (f *fixture) file(name string) *os.File {
	f.t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		f.t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), name)
	f.t.Cleanup(func() { file.Close() })
	return file
}

// content returns what is in the input.
func (f *fixture) content() []byte {
	f.t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f.in, 0, 1<<30))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// call makes a system call.
func (f *fixture) call(number uint64, a ...uint64) (uint64, unix.Errno) {
	var six args
	copy(six[:], a)
	r := f.g.serve(f.thread, number, six)
	if r > math.MaxUint64-4096 {
		return 0, unix.Errno(-r)
	}
	return r, 0
}

// must makes a system call that has to succeed.
func (f *fixture) must(number uint64, a ...uint64) uint64 {
	f.t.Helper()
	r, errno := f.call(number, a...)
	if errno != 0 {
		f.t.Fatalf("call %d%#x: %v", number, a, errno)
	}
	return r
}

// poke puts words at address.
func (f *fixture) poke(address uint64, words ...uint64) {
	f.t.Helper()
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	if errno := f.g.space.copyOut(address, b); errno != 0 {
		f.t.Fatal(errno)
	}
}

// peek returns n bytes from address on.
func (f *fixture) peek(address uint64, n int) []byte {
	f.t.Helper()
	b := make([]byte, n)
	if errno := f.g.space.copyIn(b, address, false); errno != 0 {
		f.t.Fatal(errno)
	}
	return b
}

// outcome returns how the guest was ended, if it was.
func (f *fixture) outcome() Outcome {
	select {
	case e := <-f.g.ended:
		return e.outcome
	default:
		return ""
	}
}

// A callCase is one system call, and what comes of it.
type callCase struct {
	name   string
	number uint64
	args   []uint64
	want   uint64
	errno  unix.Errno
}

// TestCalls has every call of the table with arguments that are right and with
// each that can be wrong.
func TestCalls(t *testing.T) {
	f := newFixture(t)
	anon := uint64(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS)
	rw := uint64(unix.PROT_READ | unix.PROT_WRITE)
	huge := uint64(math.MaxUint64)
	for _, c := range []callCase{
		{"mmap of nothing", unix.SYS_MMAP, []uint64{0, 0, rw, anon, noFD}, 0, unix.EINVAL},
		{"mmap of everything", unix.SYS_MMAP, []uint64{0, huge, rw, anon, noFD}, 0, unix.EINVAL},
		{"mmap of more than there is", unix.SYS_MMAP, []uint64{0, testRAM + 1, rw, anon, noFD}, 0, unix.ENOMEM},
		{"mmap fixed at an odd address", unix.SYS_MMAP, []uint64{f.buf + 1, 4096, rw, anon | unix.MAP_FIXED, noFD}, 0, unix.EINVAL},
		{"mmap fixed at 0", unix.SYS_MMAP, []uint64{0, 4096, rw, anon | unix.MAP_FIXED, noFD}, 0, unix.ENOMEM},
		{"mmap fixed over the call page", unix.SYS_MMAP, []uint64{callPageAddress, 4096, rw, anon | unix.MAP_FIXED, noFD}, 0, unix.EINVAL},
		{"mmap fixed in the upper half", unix.SYS_MMAP, []uint64{tablesAddress, 4096, rw, anon | unix.MAP_FIXED, noFD}, 0, unix.EINVAL},
		{"mmap fixed that wraps", unix.SYS_MMAP, []uint64{maxAddress - 4096, 8192, rw, anon | unix.MAP_FIXED, noFD}, 0, unix.ENOMEM},
		{"munmap of nothing", unix.SYS_MUNMAP, []uint64{f.buf, 0}, 0, unix.EINVAL},
		{"munmap at an odd address", unix.SYS_MUNMAP, []uint64{f.buf + 1, 4096}, 0, unix.EINVAL},
		{"munmap of the call page", unix.SYS_MUNMAP, []uint64{callPageAddress, 4096}, 0, unix.EINVAL},
		{"munmap of the stack", unix.SYS_MUNMAP, []uint64{stackTop - 4096, 4096}, 0, unix.EINVAL},
		{"madvise of everything", unix.SYS_MADVISE, []uint64{0, huge, unix.MADV_DONTNEED}, 0, unix.EINVAL},
		{"madvise of the tables", unix.SYS_MADVISE, []uint64{tablesAddress, 4096, unix.MADV_DONTNEED}, 0, unix.EINVAL},
		{"madvise of nowhere", unix.SYS_MADVISE, []uint64{nowhere, 1 << 30, unix.MADV_DONTNEED}, 0, 0},

		{"gettid", unix.SYS_GETTID, nil, 1, 0},
		{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, []uint64{0, 8192, f.buf}, 8, 0},
		{"sched_getaffinity of too little", unix.SYS_SCHED_GETAFFINITY, []uint64{0, 7, f.buf}, 0, unix.EINVAL},
		{"sched_getaffinity to nowhere", unix.SYS_SCHED_GETAFFINITY, []uint64{0, 8, nowhere}, 0, unix.EFAULT},
		{"arch_prctl", unix.SYS_ARCH_PRCTL, []uint64{archSetFS, f.buf}, 0, 0},
		{"arch_prctl to the upper half", unix.SYS_ARCH_PRCTL, []uint64{archSetFS, 1 << 47}, 0, unix.EPERM},

		{"futex wake", unix.SYS_FUTEX, []uint64{f.buf, futexWake | futexPrivate, 1}, 0, 0},
		{"futex wait for another value", unix.SYS_FUTEX, []uint64{f.buf + 128, futexWait | futexPrivate, 1}, 0, unix.EAGAIN},
		{"futex at an odd address", unix.SYS_FUTEX, []uint64{f.buf + 2, futexWake | futexPrivate, 1}, 0, unix.EINVAL},
		{"futex nowhere", unix.SYS_FUTEX, []uint64{nowhere, futexWake | futexPrivate, 1}, 0, unix.EFAULT},
		{"futex in the upper half", unix.SYS_FUTEX, []uint64{tablesAddress, futexWake | futexPrivate, 1}, 0, unix.EFAULT},
		{"futex in read-only memory", unix.SYS_FUTEX, []uint64{f.readOnly, futexWake | futexPrivate, 1}, 0, unix.EFAULT},
		{"futex with a timeout from nowhere", unix.SYS_FUTEX, []uint64{f.buf, futexWait | futexPrivate, 0, nowhere}, 0, unix.EFAULT},

		{"nanosleep from nowhere", unix.SYS_NANOSLEEP, []uint64{nowhere}, 0, unix.EFAULT},
		{"nanosleep across the edge", unix.SYS_NANOSLEEP, []uint64{f.edge}, 0, unix.EFAULT},
		{"clock_gettime", unix.SYS_CLOCK_GETTIME, []uint64{unix.CLOCK_MONOTONIC, f.buf}, 0, 0},
		{"clock_gettime to read-only memory", unix.SYS_CLOCK_GETTIME, []uint64{unix.CLOCK_REALTIME, f.readOnly}, 0, unix.EFAULT},
		{"getrandom", unix.SYS_GETRANDOM, []uint64{f.buf, 100, 0}, 100, 0},
		{"getrandom of everything", unix.SYS_GETRANDOM, []uint64{f.buf, huge, 0}, maxRandom, 0},
		{"getrandom to the edge", unix.SYS_GETRANDOM, []uint64{f.edge, 2, 0}, 0, unix.EFAULT},

		{"fcntl of standard error", unix.SYS_FCNTL, []uint64{2, unix.F_GETFD}, 0, 0},
		{"fcntl of no descriptor", unix.SYS_FCNTL, []uint64{99, unix.F_GETFD}, 0, unix.EBADF},

		{"pread", unix.SYS_PREAD64, []uint64{inputNo, f.buf, 100, 5}, 100, 0},
		{"pread of all", unix.SYS_PREAD64, []uint64{inputNo, f.buf, 64 << 10, 0}, inSize, 0},
		{"pread at the end", unix.SYS_PREAD64, []uint64{inputNo, f.buf, 100, inSize}, 0, 0},
		{"pread of nothing", unix.SYS_PREAD64, []uint64{inputNo, f.buf, 0, 0}, 0, 0},
		{"pread at a negative offset", unix.SYS_PREAD64, []uint64{inputNo, f.buf, 100, huge}, 0, unix.EINVAL},
		{"pread to nowhere", unix.SYS_PREAD64, []uint64{inputNo, nowhere, 100, 0}, 0, unix.EFAULT},
		{"pread to 0", unix.SYS_PREAD64, []uint64{inputNo, 0, 100, 0}, 0, unix.EFAULT},
		{"pread to the upper half", unix.SYS_PREAD64, []uint64{inputNo, tablesAddress, 100, 0}, 0, unix.EFAULT},
		{"pread to the call page", unix.SYS_PREAD64, []uint64{inputNo, callPageAddress, 8, 0}, 0, unix.EFAULT},
		{"pread to the bell", unix.SYS_PREAD64, []uint64{inputNo, bellAddress, 8, 0}, 0, unix.EFAULT},
		{"pread to read-only memory", unix.SYS_PREAD64, []uint64{inputNo, f.readOnly, 8, 0}, 0, unix.EFAULT},
		{"pread to reserved addresses", unix.SYS_PREAD64, []uint64{inputNo, f.reserved, 8, 0}, 0, unix.EFAULT},
		{"pread across the edge", unix.SYS_PREAD64, []uint64{inputNo, f.edge, 2, 0}, 0, unix.EFAULT},
		{"pread of everything", unix.SYS_PREAD64, []uint64{inputNo, f.buf, huge, 0}, 0, unix.EFAULT},
		{"pread that wraps", unix.SYS_PREAD64, []uint64{inputNo, huge - 10, 100, 0}, 0, unix.EFAULT},
		{"pread from the output", unix.SYS_PREAD64, []uint64{outputNo, f.buf, 8, 0}, 0, unix.EBADF},
		{"pread from the control channel", unix.SYS_PREAD64, []uint64{wall.ControlDescriptor, f.buf, 8, 0}, 0, unix.EBADF},
		{"pread from no descriptor", unix.SYS_PREAD64, []uint64{1 << 31, f.buf, 8, 0}, 0, unix.EBADF},
		{"pread from -1", unix.SYS_PREAD64, []uint64{huge, f.buf, 8, 0}, 0, unix.EBADF},

		{"pwrite", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, 100, 0}, 100, 0},
		{"pwrite up to the ceiling", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, 4096, ceiling - 4096}, 4096, 0},
		{"pwrite of nothing at the ceiling", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, 0, ceiling}, 0, 0},
		{"pwrite across the ceiling", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, 2, ceiling - 1}, 0, unix.EFBIG},
		{"pwrite beyond the ceiling", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, 1, ceiling}, 0, unix.EFBIG},
		{"pwrite of everything", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, huge, 10}, 0, unix.EFBIG},
		{"pwrite that wraps", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, huge - 8, 16}, 0, unix.EFBIG},
		{"pwrite at a negative offset", unix.SYS_PWRITE64, []uint64{outputNo, f.buf, 1, huge}, 0, unix.EINVAL},
		{"pwrite from nowhere", unix.SYS_PWRITE64, []uint64{outputNo, nowhere, 1, 0}, 0, unix.EFAULT},
		{"pwrite from the tables", unix.SYS_PWRITE64, []uint64{outputNo, tablesAddress, 1, 0}, 0, unix.EFAULT},
		{"pwrite from the bell", unix.SYS_PWRITE64, []uint64{outputNo, bellAddress, 1, 0}, 0, unix.EFAULT},
		{"pwrite to the input", unix.SYS_PWRITE64, []uint64{inputNo, f.buf, 1, 0}, 0, unix.EBADF},

		{"lseek to the end", unix.SYS_LSEEK, []uint64{inputNo, 0, unix.SEEK_END}, inSize, 0},
		{"lseek to data", unix.SYS_LSEEK, []uint64{inputNo, 5, unix.SEEK_DATA}, 5, 0},
		{"lseek to a hole", unix.SYS_LSEEK, []uint64{inputNo, 5, unix.SEEK_HOLE}, inSize, 0},
		{"lseek to data beyond the end", unix.SYS_LSEEK, []uint64{inputNo, inSize, unix.SEEK_DATA}, 0, unix.ENXIO},
		{"lseek to a negative hole", unix.SYS_LSEEK, []uint64{inputNo, huge, unix.SEEK_HOLE}, 0, unix.ENXIO},
		{"lseek to runs", unix.SYS_LSEEK, []uint64{inputNo, 5, wall.SeekRuns, f.buf, 2}, 1, 0},
		{"lseek to no runs", unix.SYS_LSEEK, []uint64{inputNo, 5, wall.SeekRuns, nowhere, 0}, 0, 0},
		{"lseek to runs beyond the end", unix.SYS_LSEEK, []uint64{inputNo, inSize, wall.SeekRuns, f.buf, 2}, 0, unix.ENXIO},
		{"lseek to negative runs", unix.SYS_LSEEK, []uint64{inputNo, huge, wall.SeekRuns, f.buf, 2}, 0, unix.ENXIO},
		{"lseek to runs nowhere", unix.SYS_LSEEK, []uint64{inputNo, 0, wall.SeekRuns, nowhere, 1}, 0, unix.EFAULT},
		{"lseek to runs over an edge", unix.SYS_LSEEK, []uint64{inputNo, 0, wall.SeekRuns, f.edge, 1}, 0, unix.EFAULT},
		{"lseek to runs in the output", unix.SYS_LSEEK, []uint64{outputNo, 0, wall.SeekRuns, f.buf, 1}, 0, unix.EBADF},
		{"lseek in the output", unix.SYS_LSEEK, []uint64{outputNo, 0, unix.SEEK_END}, 0, unix.EBADF},

		{"ftruncate", unix.SYS_FTRUNCATE, []uint64{outputNo, ceiling}, 0, 0},
		{"ftruncate beyond the ceiling", unix.SYS_FTRUNCATE, []uint64{outputNo, ceiling + 1}, 0, unix.EFBIG},
		{"ftruncate to a negative length", unix.SYS_FTRUNCATE, []uint64{outputNo, huge}, 0, unix.EINVAL},
		{"ftruncate of the input", unix.SYS_FTRUNCATE, []uint64{inputNo, 0}, 0, unix.EBADF},
		{"fallocate", unix.SYS_FALLOCATE, []uint64{outputNo, 0, 0, ceiling}, 0, 0},
		{"fallocate beyond the ceiling", unix.SYS_FALLOCATE, []uint64{outputNo, 0, ceiling - 1, 2}, 0, unix.EFBIG},
		{"fallocate that wraps", unix.SYS_FALLOCATE, []uint64{outputNo, 0, math.MaxInt64, math.MaxInt64}, 0, unix.EFBIG},
		{"fallocate of a negative length", unix.SYS_FALLOCATE, []uint64{outputNo, 0, 0, huge}, 0, unix.EINVAL},
		{"fallocate of the input", unix.SYS_FALLOCATE, []uint64{inputNo, 0, 0, 1}, 0, unix.EBADF},
		{"fdatasync", unix.SYS_FDATASYNC, []uint64{outputNo}, 0, 0},
		{"fdatasync of the input", unix.SYS_FDATASYNC, []uint64{inputNo}, 0, unix.EBADF},

		{"epoll_ctl without an instance", unix.SYS_EPOLL_CTL, []uint64{inputNo, unix.EPOLL_CTL_ADD, wall.ControlDescriptor, f.buf}, 0, unix.EBADF},
		{"epoll_pwait without an instance", unix.SYS_EPOLL_PWAIT, []uint64{inputNo, f.buf, 1, 0}, 0, unix.EBADF},
		{"read without an eventfd", unix.SYS_READ, []uint64{inputNo, f.buf, 8}, 0, unix.EBADF},
		{"read from standard input", unix.SYS_READ, []uint64{0, f.buf, 8}, 0, unix.EBADF},
		{"write to the input", unix.SYS_WRITE, []uint64{inputNo, f.buf, 8}, 0, unix.EBADF},
		{"write to the output", unix.SYS_WRITE, []uint64{outputNo, f.buf, 8}, 0, unix.EBADF},
		{"write from nowhere", unix.SYS_WRITE, []uint64{2, nowhere, 8}, 0, unix.EFAULT},
		{"write to standard error", unix.SYS_WRITE, []uint64{2, f.buf, 8}, 8, 0},
		{"recvmsg from the input", unix.SYS_RECVMSG, []uint64{inputNo, f.buf, 0}, 0, unix.EBADF},
		{"recvmsg to nowhere", unix.SYS_RECVMSG, []uint64{wall.ControlDescriptor, nowhere, 0}, 0, unix.EFAULT},
		{"close of standard error", unix.SYS_CLOSE, []uint64{2}, 0, unix.EBADF},
		{"close of the control channel", unix.SYS_CLOSE, []uint64{wall.ControlDescriptor}, 0, unix.EBADF},
		{"close of no descriptor", unix.SYS_CLOSE, []uint64{77}, 0, unix.EBADF},
	} {
		got, errno := f.call(c.number, c.args...)
		if got != c.want || errno != c.errno {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, got, errno, c.want, c.errno)
		}
	}
	if o := f.outcome(); o != "" {
		t.Errorf("the guest ended: %s", o)
	}
	if info, _ := f.out.Stat(); info.Size() > ceiling {
		t.Errorf("the output has %d bytes", info.Size())
	}
}

// TestEndingCalls has the calls that end the guest.
func TestEndingCalls(t *testing.T) {
	for _, c := range []struct {
		name   string
		number uint64
		args   []uint64
		want   Outcome
	}{
		{"exit_group", unix.SYS_EXIT_GROUP, []uint64{3}, Exited},
		{"exit of the last thread", unix.SYS_EXIT, nil, Exited},
		{"socket", unix.SYS_SOCKET, []uint64{2, 1, 0}, Forbidden},
		{"execve", unix.SYS_EXECVE, nil, Forbidden},
		{"fork by clone", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, Forbidden},
		{"no system call", math.MaxUint64, nil, Forbidden},
		{"a system call beyond the last", 512, nil, Forbidden},
	} {
		f := newFixture(t)
		f.call(c.number, c.args...)
		if got := f.outcome(); got != c.want || !f.thread.done {
			t.Errorf("%s: outcome %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPreadContent(t *testing.T) {
	f := newFixture(t)
	want := make([]byte, 6000)
	if _, err := f.in.ReadAt(want, 123); err != nil {
		t.Fatal(err)
	}
	f.must(unix.SYS_PREAD64, inputNo, f.buf+77, 6000, 123)
	if !bytes.Equal(f.peek(f.buf+77, 6000), want) {
		t.Error("the guest has other bytes than the file")
	}
	f.must(unix.SYS_PWRITE64, outputNo, f.buf+77, 6000, 2000)
	got := make([]byte, 6000)
	if _, err := f.out.ReadAt(got, 2000); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file has other bytes than the guest, %v", err)
	}
}

func TestCopyFileRange(t *testing.T) {
	f := newFixture(t)
	offIn, offOut := f.buf, f.buf+8
	for _, c := range []struct {
		name       string
		from, to   uint64
		pIn, pOut  uint64
		in, out, n uint64
		want       uint64
		errno      unix.Errno
	}{
		{"as it should be", inputNo, outputNo, offIn, offOut, 10, 20, 1000, 1000, 0},
		{"the wrong way round", outputNo, inputNo, offIn, offOut, 0, 0, 1, 0, unix.EBADF},
		{"input to input", inputNo, inputNo, offIn, offOut, 0, 0, 1, 0, unix.EBADF},
		{"without an offset", inputNo, outputNo, 0, offOut, 0, 0, 1, 0, unix.EFAULT},
		{"offset in read-only memory", inputNo, outputNo, offIn, f.readOnly, 0, 0, 1, 0, unix.EFAULT},
		{"negative source", inputNo, outputNo, offIn, offOut, math.MaxUint64, 0, 1, 0, unix.EINVAL},
		{"negative target", inputNo, outputNo, offIn, offOut, 0, math.MaxUint64, 1, 0, unix.EINVAL},
		{"beyond the ceiling", inputNo, outputNo, offIn, offOut, 0, ceiling - 1, 2, 0, unix.EFBIG},
		{"everything", inputNo, outputNo, offIn, offOut, 0, 0, math.MaxUint64, 0, unix.EFBIG},
	} {
		f.poke(offIn, c.in, c.out)
		got, errno := f.call(unix.SYS_COPY_FILE_RANGE, c.from, c.pIn, c.to, c.pOut, c.n, 0)
		if got != c.want || errno != c.errno {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, got, errno, c.want, c.errno)
		}
		if info, _ := f.out.Stat(); info.Size() > 1020 {
			t.Errorf("%s: %d bytes were written", c.name, info.Size())
		}
		if errno == 0 && binary.LittleEndian.Uint64(f.peek(offIn, 8)) != c.in+got {
			t.Errorf("%s: the offset did not move", c.name)
		}
	}
}

// TestSeekRuns asks for where an input has data, some runs at a time.
func TestSeekRuns(t *testing.T) {
	const block, runs = 64 << 10, wall.MaxRuns + 10
	f := newFixture(t)
	if err := f.in.Truncate(0); err != nil {
		t.Fatal(err)
	}
	for k := range int64(runs) { // each block with an odd number
		if _, err := f.in.WriteAt([]byte{1}, (2*k+1)*block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.in.Truncate(2 * runs * block); err != nil {
		t.Fatal(err)
	}
	for _, room := range []uint64{1, 7, wall.MaxRuns, math.MaxUint64} {
		var got []int64
		off := uint64(0)
		for {
			n, errno := f.call(unix.SYS_LSEEK, inputNo, off, wall.SeekRuns, f.buf, room)
			if errno == unix.ENXIO {
				break
			}
			if errno != 0 || n == 0 || n > min(room, wall.MaxRuns) {
				t.Fatalf("room for %d: %d, %v", room, n, errno)
			}
			for k := range n {
				b := f.peek(f.buf+wall.RunSize*k, wall.RunSize)
				start := binary.LittleEndian.Uint64(b)
				off = binary.LittleEndian.Uint64(b[8:])
				got = append(got, int64(start))
				if start >= off || off > start+block {
					t.Fatalf("a run from %d to %d", start, off)
				}
			}
		}
		for k, start := range got {
			if start > int64(2*k+1)*block || start < int64(2*k)*block {
				t.Fatalf("room for %d: run %d is at %d", room, k, start)
			}
		}
		if len(got) != runs {
			t.Errorf("room for %d: %d runs of %d", room, len(got), runs)
		}
	}
}

// TestLeaveZeros has blocks of zeros left out of a copy, and what is there in the
// output stay.
func TestLeaveZeros(t *testing.T) {
	const block = wall.SparseBlock
	f := newFixture(t)
	in := bytes.Repeat([]byte("in"), 5*block/2)
	clear(in[block+100:][:3*block]) // two blocks, counted from 100 on
	in = append(in, make([]byte, 100)...)
	if _, err := f.in.WriteAt(in, 0); err != nil {
		t.Fatal(err)
	}
	const holes = 1 << 20 // from there on: a hole, a block, two holes, 100 bytes and a hole
	for off, n := range map[int]int{holes + block: block, holes + 4*block: 100} {
		if _, err := f.in.WriteAt(bytes.Repeat([]byte("be"), n/2), int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.in.Truncate(holes + 6*block); err != nil {
		t.Fatal(err)
	}
	in = make([]byte, holes+6*block)
	if _, err := f.in.ReadAt(in, 0); err != nil {
		t.Fatal(err)
	}
	old := bytes.Repeat([]byte("old"), ceiling/3)
	offIn, offOut := f.buf, f.buf+8
	for _, c := range []struct {
		name       string
		off, at, n uint64
		want       uint64
		errno      unix.Errno
	}{
		{"all zeros", block + 100, 0, 2 * block, 2 * block, 0},
		{"none", 0, 0, 2 * block, 2 * block, 0},
		{"some", 100, 0, 2 * block, 2 * block, 0},
		{"zeros that make up no block", 200, 1, block + 300, block + 300, 0},
		{"a short block", 5 * block, 4000, 100, 100, 0},
		{"a hole and data", holes, 0, 2 * block, 2 * block, 0},
		{"data and a hole", holes + block, 0, 2 * block, 2 * block, 0},
		{"a hole that ends in a block", holes + 100, 0, 2*block - 100, 2*block - 100, 0},
		{"data that ends in a block", holes + block + 100, 0, 2*block - 100, 2*block - 100, 0},
		{"holes", holes + 2*block, 0, 2 * block, 2 * block, 0},
		{"the last hole", holes + 5*block, 0, block, block, 0},
		{"a hole that the input ends in", holes + 5*block, 0, block + 1, 0, 0},
		{"a block that the input ends behind", holes + 4*block, 0, 2 * block, 2 * block, 0},
		{"beyond the ceiling", 0, ceiling - block, block + 1, 0, unix.EFBIG},
	} {
		want := bytes.Clone(old)
		for at := uint64(0); at < c.want; at += block {
			part := in[c.off+at : c.off+min(at+block, c.want)]
			if !bytes.Equal(part, make([]byte, len(part))) {
				copy(want[c.at+at:], part)
			}
		}
		for _, flags := range []uint64{wall.LeaveZeros, wall.LeaveZeros | wall.SkipHoles} {
			if _, err := f.out.WriteAt(old, 0); err != nil {
				t.Fatal(err)
			}
			f.poke(offIn, c.off, c.at)
			got, errno := f.call(unix.SYS_COPY_FILE_RANGE, inputNo, offIn, outputNo, offOut, c.n, flags)
			if got != c.want || errno != c.errno {
				t.Errorf("%s, flags %#x: %d, %v; want %d, %v", c.name, flags, got, errno, c.want, c.errno)
			}
			content := make([]byte, len(old))
			if _, err := f.out.ReadAt(content, 0); err != nil || !bytes.Equal(content, want) {
				t.Errorf("%s, flags %#x: the output has something else, %v", c.name, flags, err)
			}
		}
	}
	if err := f.in.Truncate(holes + 4*block + 100); err != nil {
		t.Fatal(err)
	}
	f.poke(offIn, holes, 0)
	if n := f.must(unix.SYS_COPY_FILE_RANGE, inputNo, offIn, outputNo, offOut, 2*block, wall.LeaveZeros|wall.SkipHoles); n != 2*block {
		t.Errorf("before the end of the input: %d", n)
	}
	f.poke(offIn, holes+3*block, 0)
	if n := f.must(unix.SYS_COPY_FILE_RANGE, inputNo, offIn, outputNo, offOut, 2*block, wall.LeaveZeros|wall.SkipHoles); n != block {
		t.Errorf("data that the input ends in: %d", n)
	}
	f.poke(offIn, holes+4*block+90, 0)
	if n := f.must(unix.SYS_COPY_FILE_RANGE, inputNo, offIn, outputNo, offOut, 100, wall.LeaveZeros); n != 0 {
		t.Errorf("up to the end of the input: %d", n)
	}
	for range 2 * sparseBuffers { // they come back
		f.poke(offIn, 0, 0)
		f.must(unix.SYS_COPY_FILE_RANGE, inputNo, offIn, outputNo, offOut, 1, wall.LeaveZeros)
	}
}
