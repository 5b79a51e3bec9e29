//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"instar/job"
	"instar/job/wall"
)

// control is the VMM's side of the control channel. What the host sends is
// received message by message, because a grant has to be made here before the
// guest hears of it; what the guest sends is passed on unseen: the host takes
// it for hostile.
type control struct {
	fd   int
	conn *job.Conn
	mu   sync.Mutex

	rest   []byte // of the message that is being delivered
	rights int    // the guest's descriptor that belongs to it; -1 if none
}

func newControl(fd int) *control { return &control{fd: fd, conn: job.NewConn(fd), rights: -1} }

// next sees to it that there is something in rest, unless the host has closed
// the channel.
func (c *control) next(t *files) unix.Errno {
	if len(c.rest) > 0 {
		return 0
	}
	m, fd, err := c.conn.Receive()
	switch {
	case errors.Is(err, io.EOF):
		return 0
	case err != nil:
		return unix.EIO
	}
	if fd >= 0 {
		number, errno := t.grant(fd, m.Grant)
		if errno != 0 {
			return errno
		}
		c.rights = number
		// Both are done here, which spares exits.
		m.Grant.Reserve, m.Grant.Extended = false, true
	}
	if c.rest, err = job.Encode(m); err != nil {
		return unix.EIO
	}
	return 0
}

// Where the fields of struct msghdr are: include/linux/socket.h.
const (
	msghdrSize          = 56
	msghdrNameLength    = 8
	msghdrIov           = 16
	msghdrIovLength     = 24
	msghdrControl       = 32
	msghdrControlLength = 40
	msghdrFlags         = 48

	iovecSize = 16
	// rightsSize is the room that one descriptor takes up in control data:
	// struct cmsghdr and an int, padded.
	rightsSize = 24
	rightsUsed = 20
	maxIovecs  = 16
)

// recvmsg hands the guest what the host sent: at most the rest of one message,
// and with its first byte the descriptor that came with it.
func (g *guest) recvmsg(r *request) (uint64, unix.Errno) {
	var header [msghdrSize]byte
	if errno := g.space.copyIn(header[:], r.args[1], true); errno != 0 {
		return 0, errno
	}
	views, errno := g.messageViews(r.thread, header[:])
	if errno != 0 {
		return 0, errno
	}
	c := g.control
	c.mu.Lock()
	defer c.mu.Unlock()
	if errno := c.next(g.files); errno != 0 {
		return 0, errno
	}
	var n uint64
	for _, v := range views {
		k := copy(v, c.rest)
		c.rest = c.rest[k:]
		n += uint64(k)
	}
	flags, errno := g.deliverRights(header[:], c)
	if errno != 0 {
		return 0, errno
	}
	le := binary.LittleEndian
	le.PutUint32(header[msghdrNameLength:], 0)
	le.PutUint32(header[msghdrFlags:], flags)
	return n, g.space.copyOut(r.args[1], header[:])
}

// messageViews returns the buffers that a message header names.
func (g *guest) messageViews(t *thread, header []byte) ([][]byte, unix.Errno) {
	le := binary.LittleEndian
	count := le.Uint64(header[msghdrIovLength:])
	if count > maxIovecs {
		return nil, unix.EMSGSIZE
	}
	iovecs := make([]byte, count*iovecSize)
	if errno := g.space.copyIn(iovecs, le.Uint64(header[msghdrIov:]), false); errno != 0 {
		return nil, errno
	}
	views := t.views[:0]
	for ; len(iovecs) > 0; iovecs = iovecs[iovecSize:] {
		var errno unix.Errno
		length := min(le.Uint64(iovecs[8:]), job.MaxMessage+4)
		if views, errno = g.space.view(views, le.Uint64(iovecs), length, true); errno != 0 {
			return nil, errno
		}
	}
	t.views = views
	return views, 0
}

// deliverRights puts the descriptor of the message, if there is one, into the
// header's control data, and returns the header's flags. A descriptor for
// which the guest left no room is lost.
func (g *guest) deliverRights(header []byte, c *control) (uint32, unix.Errno) {
	le := binary.LittleEndian
	number := c.rights
	room := le.Uint64(header[msghdrControlLength:])
	le.PutUint64(header[msghdrControlLength:], 0)
	if number < 0 {
		return 0, 0
	}
	c.rights = -1
	if room < rightsSize {
		g.files.remove(uint64(number))
		return unix.MSG_CTRUNC, 0
	}
	cmsg := le.AppendUint64(nil, rightsUsed)
	cmsg = le.AppendUint32(cmsg, unix.SOL_SOCKET)
	cmsg = le.AppendUint32(cmsg, unix.SCM_RIGHTS)
	cmsg = le.AppendUint32(cmsg, uint32(number))
	cmsg = le.AppendUint32(cmsg, 0)
	le.PutUint64(header[msghdrControlLength:], rightsSize)
	return unix.MSG_CMSG_CLOEXEC, g.space.copyOut(le.Uint64(header[msghdrControl:]), cmsg)
}

// write writes to the control channel, to an eventfd, or to what is kept for
// the report.
func (g *guest) write(r *request) (uint64, unix.Errno) {
	f := r.files[0]
	views, errno := g.space.view(r.thread.views[:0], r.args[1], min(r.args[2], job.MaxMessage+4), false)
	r.thread.views = views
	if errno != 0 {
		return 0, errno
	}
	switch f.kind {
	case wall.Control:
		n, err := unix.Writev(g.control.fd, views)
		return uint64(max(n, 0)), errnoOf(err)
	case wall.Event:
		return g.poll.signal(views)
	}
	return g.log.write(views), 0
}
