//go:build linux && amd64

package attack

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"instar/job"
)

// A worker is taken over completely: it has a job's descriptors, and attacks.
type worker struct {
	in, out int    // granted
	host    int    // process number of the host
	secret  uint64 // where in the host's memory something of value is
	buf     []byte
}

// serve says hello, takes descriptors until it is told which attack to play,
// plays it, and says how it came out.
func serve() int {
	c := job.NewConn(3)
	if err := c.Send(&job.Message{Hello: &job.Hello{}}, -1); err != nil {
		return 1
	}
	w := &worker{in: -1, out: -1, buf: make([]byte, 1<<16)}
	for {
		m, fd, err := c.Receive()
		switch {
		case err != nil:
			return 0
		case m.Grant != nil && m.Grant.Access == job.Read:
			w.in = fd
		case m.Grant != nil:
			w.out = fd
		case m.Inspect != nil:
			fmt.Sscan(m.Inspect.Snapshot, &w.host, &w.secret)
			answer := w.play(m.Inspect.Format)
			if err := c.Send(&job.Message{Error: &job.Error{Kind: job.ErrRead, Message: answer}}, -1); err != nil {
				return 1
			}
		}
	}
}

// play returns how an attack came out: "ok" and a number, or the name of an
// error number. Most attacks are not survived.
func (w *worker) play(name string) string {
	for i := range attacks {
		if attacks[i].name == name {
			n, err := attacks[i].do(w)
			return outcome(n, err)
		}
	}
	return "no such attack"
}

func outcome(n int64, err error) string {
	if err == nil {
		return fmt.Sprintf("ok %d", n)
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// errBreach is what an attack returns that went through where it did harm.
var errBreach = errors.New("breach")

// call makes a system call. An argument is a number, a text, or memory.
func call(number uintptr, args ...any) func(*worker) (int64, error) {
	return func(w *worker) (int64, error) {
		var a [6]uintptr
		for i, arg := range args {
			a[i] = w.argument(arg)
		}
		r, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return 0, errno
		}
		return int64(r), nil
	}
}

// What stands for an argument that is known in the worker only.
type placeholder int

const (
	input    placeholder = iota // the granted input
	output                      // the granted output
	host                        // the host's process number
	buffer                      // 64 KiB of memory
	nowhere                     // an address with nothing behind it
	kernel                      // an address of a kernel's
	program                     // an address of the program's code
	transfer                    // two struct iovec: the buffer, and the host's secret
)

func (w *worker) argument(arg any) uintptr {
	switch arg := arg.(type) {
	case int:
		return uintptr(arg)
	case uint64:
		return uintptr(arg)
	case string:
		return addressOf(append([]byte(arg), 0))
	case placeholder:
		return w.place(arg)
	}
	panic(fmt.Sprintf("argument %T", arg))
}

func (w *worker) place(p placeholder) uintptr {
	switch p {
	case input:
		return uintptr(w.in)
	case output:
		return uintptr(w.out)
	case host:
		return uintptr(w.host)
	case buffer:
		return addressOf(w.buf)
	case nowhere:
		return 0x1234_5678_9000
	case kernel:
		return 0xffff_ffff_8100_0000
	case program:
		return programAddress()
	case transfer:
		return addressOf(iovecs(addressOf(w.buf), uintptr(w.secret)))
	}
	panic("placeholder")
}

// prove shows that the worker works: it reads its input and writes its output.
func prove(w *worker) (int64, error) {
	n, err := unix.Pread(w.in, w.buf[:len(inputText)], 0)
	if err != nil {
		return 0, err
	}
	if string(w.buf[:n]) != inputText {
		return 0, fmt.Errorf("read %q", w.buf[:n])
	}
	n, err = unix.Pwrite(w.out, []byte(outputText), 0)
	return int64(n), err
}

// ordinary does what a Go program does besides: chance, time, memory that is
// given back, threads that come and go, timers.
func ordinary(*worker) (int64, error) {
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			runtime.LockOSThread() // and ends with its thread
			b := make([]byte, 1<<20)
			rand.Read(b[:64])
			runtime.Gosched()
			select {
			case <-time.After(time.Millisecond):
			case <-time.After(time.Hour):
			}
		})
	}
	wg.Wait()
	debug.FreeOSMemory()
	if s := time.Now().Local().Format(time.RFC3339); len(s) < 20 {
		return 0, errors.New(s)
	}
	return 0, nil
}

// manyFiles opens what it can think of.
func manyFiles(*worker) (int64, error) {
	for _, name := range []string{"/", ".", "/etc/passwd", "/proc/self/mem", "/proc/1/environ", "/dev/kvm", "/tmp"} {
		for _, flags := range []int{unix.O_RDONLY, unix.O_RDWR | unix.O_CREAT, unix.O_PATH, unix.O_TMPFILE | unix.O_RDWR} {
			fd, err := unix.Openat(unix.AT_FDCWD, name, flags, 0o600)
			if err == nil {
				return int64(fd), errBreach
			}
			if err != unix.ENOENT {
				return 0, err
			}
		}
	}
	return 0, unix.ENOENT
}

// everyDescriptor looks for descriptors that nobody granted.
func everyDescriptor(w *worker) (int64, error) {
	for fd := 4; fd < 4096; fd++ {
		if fd == w.in || fd == w.out {
			continue
		}
		if _, err := unix.Pread(fd, w.buf[:1], 0); err != unix.EBADF {
			own := err == unix.ESPIPE && fd < 9 // of the Go runtime's: for timers
			if !own {
				return 0, fmt.Errorf("descriptor %d: %v", fd, err)
			}
		}
	}
	return 0, unix.EBADF
}

// exhaust takes memory until it is stopped, or has 4 GiB.
func exhaust(*worker) (int64, error) {
	var all [][]byte
	for range 1024 {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	return int64(len(all)), errBreach
}

// quarter uses a quarter of the memory that it has.
func quarter(*worker) (int64, error) {
	var all [][]byte
	for range 64 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	return int64(len(all)), nil
}

// recycle leaves it to the garbage collector to stay within its memory, and has
// a timer go off.
func recycle(w *worker) (int64, error) {
	for range 20 {
		if _, err := quarter(w); err != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond)
	}
	return 0, nil
}

// bomb starts threads that stay.
func bomb(*worker) (int64, error) {
	const n = 1000
	ready, forever := make(chan bool), make(chan bool)
	for range n {
		go func() {
			runtime.LockOSThread()
			ready <- true
			<-forever
		}()
	}
	for range n {
		<-ready
	}
	return n, nil
}

// mapAll maps memory behind the Go runtime's back until it is refused, and
// touches it.
func mapAll(*worker) (int64, error) {
	for total := int64(0); total < 4<<30; total += 16 << 20 {
		b, err := unix.Mmap(-1, 0, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return 0, err
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	}
	return 0, errBreach
}

// smuggle sends its input out over the control channel.
func smuggle(w *worker) (int64, error) {
	n, err := unix.SendmsgN(3, []byte("x"), unix.UnixRights(w.in), nil, 0)
	return int64(n), err
}

func die(text string) func(*worker) (int64, error) {
	return func(*worker) (int64, error) { panic(text) }
}

// flood writes to standard error without end.
func flood(*worker) (int64, error) {
	line := []byte(strings.Repeat("\x1b]0;mine\a", 1000))
	for range 10000 {
		if _, err := unix.Write(2, line); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// leave exits as if all were well.
func leave(*worker) (int64, error) { os.Exit(0); return 0, nil }

func instruction(f func()) func(*worker) (int64, error) {
	return func(*worker) (int64, error) { f(); return 0, errBreach }
}

func jumpTo(address uint64) func(*worker) (int64, error) {
	return func(*worker) (int64, error) { jump(address); return 0, errBreach }
}

func jumpToData(w *worker) (int64, error) {
	w.buf[0] = 0xc3 // RET
	jump(uint64(w.place(buffer)))
	return 0, errBreach
}
