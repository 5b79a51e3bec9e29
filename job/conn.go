package job

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxMessage is the greatest length of a message in bytes, without the four
// bytes that carry its length (little-endian).
const MaxMessage = 1 << 20

// ErrMessage says that the other side sent what is no message: too long, cut
// short, not decodable, or with descriptors where none belong.
var ErrMessage = errors.New("malformed message on the control channel")

// A Conn is one end of the control channel, a stream socket. One goroutine may
// receive while others send.
type Conn struct {
	fd  int
	buf []byte // received, not yet decoded
	fds []int  // received with buf
	mu  sync.Mutex
}

// NewConn returns a Conn over the socket fd, which stays the caller's to close.
func NewConn(fd int) *Conn { return &Conn{fd: fd} }

// Send sends m, and with it the descriptor fd unless that is negative.
func (c *Conn) Send(m *Message, fd int) error {
	frame, err := Encode(m)
	if err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(frame) > 0 {
		n, err := c.send(frame, rights)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("send on the control channel: %w", err)
		}
		frame, rights = frame[n:], nil
	}
	return nil
}

func (c *Conn) send(frame, rights []byte) (int, error) {
	if rights == nil {
		return unix.Write(c.fd, frame)
	}
	return unix.SendmsgN(c.fd, frame, rights, nil, unix.MSG_NOSIGNAL)
}

// Receive returns the next message, and the descriptor that came with it or
// -1. It returns io.EOF when the other side has closed the channel between
// messages, and an error that wraps [ErrMessage] when it sent nonsense: the
// channel is then of no more use.
func (c *Conn) Receive() (*Message, int, error) {
	for {
		m, n, err := Decode(c.buf)
		if err != nil {
			return nil, -1, err
		}
		if m != nil {
			c.buf = append(c.buf[:0], c.buf[n:]...)
			return c.withDescriptor(m)
		}
		if err := c.fill(); err != nil {
			return nil, -1, err
		}
	}
}

func (c *Conn) withDescriptor(m *Message) (*Message, int, error) {
	if m.Grant == nil {
		return m, -1, nil
	}
	if len(c.fds) == 0 {
		return nil, -1, fmt.Errorf("%w: a grant without a descriptor", ErrMessage)
	}
	fd := c.fds[0]
	c.fds = c.fds[1:]
	return m, fd, nil
}

func (c *Conn) fill() error {
	var p [16 << 10]byte
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, err := c.receive(p[:], oob)
	if err != nil {
		return fmt.Errorf("receive on the control channel: %w", err)
	}
	if oobn > 0 {
		fds, err := parseRights(oob[:oobn])
		c.fds = append(c.fds, fds...)
		if err != nil || flags&unix.MSG_CTRUNC != 0 {
			return fmt.Errorf("%w: unexpected descriptors", ErrMessage)
		}
	}
	if n == 0 {
		if len(c.buf) > 0 {
			return fmt.Errorf("%w: cut short", ErrMessage)
		}
		return io.EOF
	}
	c.buf = append(c.buf, p[:n]...)
	return nil
}

func (c *Conn) receive(p, oob []byte) (n, oobn, flags int, err error) {
	for {
		n, oobn, flags, _, err = unix.Recvmsg(c.fd, p, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			return n, oobn, flags, err
		}
	}
}

func parseRights(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}

// Encode returns the frame of m: its length and its JSON.
func Encode(m *Message) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	if len(body) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrMessage, len(body), MaxMessage)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...), nil
}

// Decode returns the first message of data and the length of its frame, or nil
// when data does not hold all of it yet. Unknown fields, trailing bytes and
// messages that do not have exactly one field set are refused.
func Decode(data []byte) (*Message, int, error) {
	if len(data) < 4 {
		return nil, 0, nil
	}
	n := binary.LittleEndian.Uint32(data)
	if n > MaxMessage {
		return nil, 0, fmt.Errorf("%w: %d bytes are more than %d", ErrMessage, n, MaxMessage)
	}
	if uint32(len(data)-4) < n {
		return nil, 0, nil
	}
	d := json.NewDecoder(bytes.NewReader(data[4 : 4+n]))
	d.DisallowUnknownFields()
	m := new(Message)
	if err := d.Decode(m); err != nil {
		return nil, 0, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, 0, fmt.Errorf("%w: bytes after the message", ErrMessage)
	}
	if m.fields() != 1 {
		return nil, 0, fmt.Errorf("%w: not exactly one kind", ErrMessage)
	}
	return m, 4 + int(n), nil
}

func (m *Message) fields() int {
	n := 0
	for _, set := range []bool{
		m.Grant != nil, m.Revoke != nil, m.Inspect != nil, m.Execute != nil, m.Compare != nil, m.Sum != nil,
		m.Hello != nil, m.Snapshots != nil, m.Progress != nil, m.Warning != nil, m.Inspection != nil, m.Result != nil, m.Comparison != nil, m.Digest != nil, m.Error != nil,
	} {
		if set {
			n++
		}
	}
	return n
}
