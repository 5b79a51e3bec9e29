//go:build linux && amd64

package kvm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"instar/job"
	"instar/job/wall"
)

// receive makes the guest's recvmsg with n bytes of room for data and room for
// control data, and returns data, the descriptor, and the flags.
func (f *fixture) receive(n, room uint64) ([]byte, int, uint32, unix.Errno) {
	f.t.Helper()
	header, iov, data, control := f.buf, f.buf+64, f.buf+4096, f.buf+128
	f.poke(iov, data, n)
	f.poke(header, 0, 0, iov, 1, control, room, 0)
	f.poke(control, 0, 0, 0, 0)
	got, errno := f.call(unix.SYS_RECVMSG, wall.ControlDescriptor, header, 0)
	h := f.peek(header, msghdrSize)
	fd := -1
	if used := binary.LittleEndian.Uint64(h[msghdrControlLength:]); used > 0 {
		c := f.peek(control, rightsUsed)
		if used != rightsSize || binary.LittleEndian.Uint64(c) != rightsUsed || binary.LittleEndian.Uint64(c[8:]) != unix.SOL_SOCKET|unix.SCM_RIGHTS<<32 {
			f.t.Errorf("control data %x, %d bytes", c, used)
		}
		fd = int(binary.LittleEndian.Uint32(c[16:]))
	}
	return f.peek(data, int(got)), fd, binary.LittleEndian.Uint32(h[msghdrFlags:]), errno
}

// TestReceive has messages arrive as on a socket: in order, cut to the room
// that there is, a descriptor with the first byte of its message.
func TestReceive(t *testing.T) {
	f := newFixture(t)
	host := job.NewConn(f.host)
	messages := []*job.Message{
		{Inspect: &job.Inspect{ID: 1, Format: "first"}},
		{Grant: &job.Grant{ID: 2, Access: job.Write, Ceiling: 50}},
		{Inspect: &job.Inspect{ID: 3, Format: "last"}},
	}
	for _, m := range messages {
		fd := -1
		if m.Grant != nil {
			fd = int(f.out.Fd())
		}
		if err := host.Send(m, fd); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range messages {
		if m.Grant != nil {
			m.Grant.Extended = true // which the VMM adds
		}
		frame, err := job.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < len(frame) {
			piece, fd, flags, errno := f.receive(10, rightsSize)
			if errno != 0 || len(piece) == 0 || len(piece) > 10 {
				t.Fatalf("%q, %v", piece, errno)
			}
			if withGrant := m.Grant != nil && len(got) == 0; withGrant != (fd >= 0) || withGrant != (flags == unix.MSG_CMSG_CLOEXEC) {
				t.Errorf("descriptor %d, flags %#x at byte %d of %s", fd, flags, len(got), frame)
			}
			got = append(got, piece...)
		}
		if string(got) != string(frame) {
			t.Errorf("%q arrived as %q", frame, got)
		}
	}
	granted := uint64(outputNo + 1)
	if n := f.must(unix.SYS_PWRITE64, granted, f.buf, 50, 0); n != 50 {
		t.Errorf("wrote %d", n)
	}
	if _, errno := f.call(unix.SYS_PWRITE64, granted, f.buf, 51, 0); errno != unix.EFBIG {
		t.Errorf("beyond the ceiling: %v", errno)
	}
	f.must(unix.SYS_CLOSE, granted)
	if _, errno := f.call(unix.SYS_PWRITE64, granted, f.buf, 1, 0); errno != unix.EBADF {
		t.Errorf("after close: %v", errno)
	}
	unix.Shutdown(f.host, unix.SHUT_RDWR)
	if b, _, _, errno := f.receive(10, 0); len(b) != 0 || errno != 0 {
		t.Errorf("at the end: %q, %v", b, errno)
	}
}

// TestReceiveReserve has space allocated by the VMM before a long write: the guest
// does not hear that it was asked for, and the ceiling holds.
func TestReceiveReserve(t *testing.T) {
	f := newFixture(t)
	grant := &job.Grant{ID: 2, Access: job.Write, Ceiling: 2 * job.ReserveFrom, Reserve: true}
	if err := job.NewConn(f.host).Send(&job.Message{Grant: grant}, int(f.out.Fd())); err != nil {
		t.Fatal(err)
	}
	frame, _, _, errno := f.receive(1000, rightsSize)
	if errno != 0 {
		t.Fatal(errno)
	}
	if m, _, err := job.Decode(frame); err != nil || m.Grant == nil || m.Grant.Reserve {
		t.Errorf("the guest hears %s, %v", frame, err)
	}
	const n = job.ReserveFrom
	long := f.must(unix.SYS_MMAP, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFD)
	f.poke(long, 1, 2, 3)
	granted := uint64(outputNo + 1)
	if got := f.must(unix.SYS_PWRITE64, granted, long, n, n); got != n {
		t.Errorf("wrote %d", got)
	}
	if _, errno := f.call(unix.SYS_PWRITE64, granted, long, n, n+1); errno != unix.EFBIG {
		t.Errorf("beyond the ceiling: %v", errno)
	}
	st, err := f.out.Stat()
	if err != nil || st.Size() != 2*n || st.Sys().(*syscall.Stat_t).Blocks > n/512 {
		t.Errorf("%d bytes, %d blocks, %v", st.Size(), st.Sys().(*syscall.Stat_t).Blocks, err)
	}
	b := make([]byte, 24)
	if _, err := f.out.ReadAt(b, n); err != nil || !bytes.Equal(b, f.peek(long, 24)) {
		t.Errorf("%x, %v", b, err)
	}
}

// TestReceiveBadly has headers that make no sense.
func TestReceiveBadly(t *testing.T) {
	f := newFixture(t)
	if err := job.NewConn(f.host).Send(&job.Message{Grant: &job.Grant{Access: job.Read}}, int(f.in.Fd())); err != nil {
		t.Fatal(err)
	}
	header, iov := f.buf, f.buf+64
	for name, c := range map[string]struct {
		header [7]uint64
		iov    [2]uint64
		errno  unix.Errno
	}{
		"no iovecs":             {header: [7]uint64{2: nowhere, 3: 1}, errno: unix.EFAULT},
		"too many iovecs":       {header: [7]uint64{2: iov, 3: 1 << 62}, errno: unix.EMSGSIZE},
		"data to nowhere":       {header: [7]uint64{2: iov, 3: 1}, iov: [2]uint64{nowhere, 10}, errno: unix.EFAULT},
		"data that wraps":       {header: [7]uint64{2: iov, 3: 1}, iov: [2]uint64{1<<64 - 2, 10}, errno: unix.EFAULT},
		"data to the call page": {header: [7]uint64{2: iov, 3: 1}, iov: [2]uint64{callPageAddress, 10}, errno: unix.EFAULT},
		"control to nowhere":    {header: [7]uint64{2: iov, 3: 1, 4: nowhere, 5: 100}, iov: [2]uint64{f.buf + 4096, 10}, errno: unix.EFAULT},
	} {
		f.poke(iov, c.iov[:]...)
		f.poke(header, c.header[:]...)
		if _, errno := f.call(unix.SYS_RECVMSG, wall.ControlDescriptor, header, 0); errno != c.errno {
			t.Errorf("%s: %v, want %v", name, errno, c.errno)
		}
	}
}

// TestReceiveWithoutRoomForRights loses the descriptor, and says so.
func TestReceiveWithoutRoomForRights(t *testing.T) {
	f := newFixture(t)
	if err := job.NewConn(f.host).Send(&job.Message{Grant: &job.Grant{Access: job.Read}}, int(f.in.Fd())); err != nil {
		t.Fatal(err)
	}
	_, fd, flags, errno := f.receive(100, rightsSize-1)
	if fd >= 0 || flags != unix.MSG_CTRUNC || errno != 0 {
		t.Errorf("descriptor %d, flags %#x, %v", fd, flags, errno)
	}
	if _, errno := f.call(unix.SYS_PREAD64, outputNo+1, f.buf, 1, 0); errno != unix.EBADF {
		t.Errorf("the descriptor is there: %v", errno)
	}
}

func TestGuestWrites(t *testing.T) {
	f := newFixture(t)
	if errno := f.g.space.copyOut(f.buf, []byte("raw bytes")); errno != 0 {
		t.Fatal(errno)
	}
	f.must(unix.SYS_WRITE, wall.ControlDescriptor, f.buf, 9)
	got := make([]byte, 20)
	if n, err := unix.Read(f.host, got); string(got[:max(n, 0)]) != "raw bytes" || err != nil {
		t.Errorf("the host received %q, %v", got[:max(n, 0)], err)
	}
	for range 10 {
		f.must(unix.SYS_WRITE, 2, f.buf, 64<<10)
	}
	if kept := f.g.log.bytes(); len(kept) != maxLog || !strings.HasPrefix(string(kept), "raw bytes") {
		t.Errorf("%d bytes of the log are kept", len(kept))
	}
}

// TestPoll has the eventfd and the epoll instance do what a Go program needs.
func TestPoll(t *testing.T) {
	f := newFixture(t)
	ep := f.must(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC)
	ev := f.must(unix.SYS_EVENTFD2, 0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	f.poke(f.buf, 0x1111_0000_0000|unix.EPOLLIN, 0x2222) // events, and data that is not aligned
	f.must(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, ev, f.buf)
	if n := f.must(unix.SYS_EPOLL_PWAIT, ep, f.buf, 1, 0); n != 0 {
		t.Errorf("%d events before one", n)
	}
	if _, errno := f.call(unix.SYS_READ, ev, f.buf, 8); errno != unix.EAGAIN {
		t.Errorf("read of nothing: %v", errno)
	}
	f.poke(f.buf, 1)
	f.must(unix.SYS_WRITE, ev, f.buf, 8)
	f.must(unix.SYS_WRITE, ev, f.buf, 8)
	if n := f.must(unix.SYS_EPOLL_PWAIT, ep, f.buf, 128, 1<<32-1); n != 1 {
		t.Errorf("%d events", n)
	}
	b := f.peek(f.buf, 12)
	if events, data := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:]); events != unix.EPOLLIN || data != 0x2222_0000_1111 {
		t.Errorf("events %#x, data %#x", events, data)
	}
	f.must(unix.SYS_READ, ev, f.buf, 8)
	if got := binary.LittleEndian.Uint64(f.peek(f.buf, 8)); got != 2 {
		t.Errorf("it counted %d", got)
	}
	if _, errno := f.call(unix.SYS_EVENTFD2, 0, 0); errno != unix.EMFILE {
		t.Errorf("a second eventfd: %v", errno)
	}
	if _, errno := f.call(unix.SYS_EPOLL_CREATE1, 0); errno != unix.EMFILE {
		t.Errorf("a second epoll instance: %v", errno)
	}
	if _, errno := f.call(unix.SYS_EPOLL_PWAIT, ep, nowhere, 1, 0); errno != 0 {
		t.Errorf("nothing to tell: %v", errno)
	}
}
