//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// A poller is the epoll instance and the eventfd that a Go program makes to
// sleep until a timer is due, or another thread wakes it. The guest gets one of
// each. Nothing else can be polled: its reads and writes block.
type poller struct {
	fd int // an eventfd of the VMM

	mu      sync.Mutex
	created bool // the epoll instance
	opened  bool // the eventfd
	watched bool
	data    uint64 // what the guest wants to be told with the event
}

func newPoller() (*poller, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return &poller{fd: fd}, err
}

func (g *guest) epollCreate(r *request) (uint64, unix.Errno) {
	if r.args[0]&^unix.EPOLL_CLOEXEC != 0 {
		return 0, unix.EINVAL
	}
	return g.addOnce(&g.poll.created, wall.Poll)
}

func (g *guest) eventfd(r *request) (uint64, unix.Errno) {
	if r.args[0] != 0 || r.args[1]&^(unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	return g.addOnce(&g.poll.opened, wall.Event)
}

func (g *guest) addOnce(done *bool, kind wall.Kind) (uint64, unix.Errno) {
	g.poll.mu.Lock()
	defer g.poll.mu.Unlock()
	if *done {
		return 0, unix.EMFILE
	}
	number, errno := g.files.add(&file{kind: kind, fd: -1})
	*done = errno == 0
	return uint64(number), errno
}

// epollCtl adds the eventfd.
func (g *guest) epollCtl(r *request) (uint64, unix.Errno) {
	if uint32(r.args[1]) != unix.EPOLL_CTL_ADD {
		return 0, unix.EINVAL
	}
	var b [12]byte // struct epoll_event is packed
	if errno := g.space.copyIn(b[:], r.args[3], false); errno != 0 {
		return 0, errno
	}
	g.poll.mu.Lock()
	defer g.poll.mu.Unlock()
	g.poll.watched = true
	g.poll.data = binary.LittleEndian.Uint64(b[4:])
	return 0, 0
}

// epollWait waits for the eventfd.
func (g *guest) epollWait(r *request) (uint64, unix.Errno) {
	if int32(uint32(r.args[2])) <= 0 {
		return 0, unix.EINVAL
	}
	g.poll.mu.Lock()
	watched, data := g.poll.watched, g.poll.data
	g.poll.mu.Unlock()
	fds := []unix.PollFd{{Fd: int32(g.poll.fd), Events: unix.POLLIN}}
	if !watched {
		fds[0].Fd = -1
	}
	n, err := unix.Poll(fds, int(int32(uint32(r.args[3]))))
	if err != nil || n <= 0 {
		return 0, errnoOf(err)
	}
	b := binary.LittleEndian.AppendUint32(nil, unix.EPOLLIN)
	b = binary.LittleEndian.AppendUint64(b, data)
	return 1, g.space.copyOut(r.args[1], b)
}

// read takes what the eventfd counted.
func (g *guest) read(r *request) (uint64, unix.Errno) {
	if r.args[2] < 8 {
		return 0, unix.EINVAL
	}
	var b [8]byte
	if n, err := unix.Read(g.poll.fd, b[:]); n != len(b) {
		return 0, errnoOf(err)
	}
	return uint64(len(b)), g.space.copyOut(r.args[1], b[:])
}

// signal adds to what the eventfd counts.
func (p *poller) signal(views [][]byte) (uint64, unix.Errno) {
	var b [8]byte
	n := 0
	for _, v := range views {
		n += copy(b[n:], v)
	}
	if n < len(b) {
		return 0, unix.EINVAL
	}
	_, err := unix.Write(p.fd, b[:])
	return uint64(n), errnoOf(err)
}
