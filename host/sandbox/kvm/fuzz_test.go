//go:build linux && amd64

package kvm

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"instar/job"
	"instar/job/wall"
)

// FuzzCalls makes system calls with registers and memory out of data. Whatever
// they are, the VMM survives, the input stays as it was, and nothing is written
// to the output at or above its ceiling.
func FuzzCalls(f *testing.F) {
	for number := range handlers {
		f.Add(binary.LittleEndian.AppendUint16(nil, uint16(number)))
	}
	for _, c := range [][]byte{
		bytes.Repeat([]byte{unix.SYS_MMAP, 0, 0x10, 0x42, 0x33, 0x22, 0x11, 0x70}, 9),
		bytes.Repeat([]byte{unix.SYS_RECVMSG, 0, 3, 0x41, 0x50, 0x41, 0x41, 0x41}, 5),
	} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x := newFixture(t)
		before := x.content()
		host := job.NewConn(x.host)
		host.Send(&job.Message{Inspect: &job.Inspect{Format: "x"}}, -1)
		host.Send(&job.Message{Grant: &job.Grant{ID: 2, Access: job.Read}}, int(x.in.Fd()))
		unix.Shutdown(x.host, unix.SHUT_RDWR)
		x.g.space.copyOut(x.buf+1024, data[:min(len(data), 4096)])
		for len(data) > 0 && x.outcome() == "" {
			var number uint64
			var a args
			number, a, data = x.draw(data)
			x.call(number, a[:]...)
		}
		if !bytes.Equal(before, x.content()) {
			t.Error("the input changed")
		}
		if info, _ := x.out.Stat(); info.Size() > ceiling {
			t.Errorf("the output has %d bytes, its ceiling is %d", info.Size(), ceiling)
		}
		if free := x.g.space.ram.free(); free > testRAM/pageSize {
			t.Errorf("%d pages are free of %d", free, testRAM/pageSize)
		}
	})
}

// alwaysZero is where the guest has zeros that it cannot change: no time.
const alwaysZero = vdsoAddress + pageSize - 16

// draw takes a system call out of data: a number and, for each argument, one
// byte that says where it comes from. Calls that may wait for long do not.
func (f *fixture) draw(data []byte) (uint64, args, []byte) {
	take := func(n int) uint64 {
		var b [8]byte
		k := copy(b[:n], data)
		data = data[k:]
		return binary.LittleEndian.Uint64(b[:])
	}
	number := take(2) % 513
	if _, ok := handlers[number]; !ok {
		numbers := make([]uint64, 0, len(handlers))
		for n := range handlers {
			numbers = append(numbers, n)
		}
		slices.Sort(numbers)
		number = numbers[number%uint64(len(numbers))]
	}
	var a args
	for i := range a {
		switch kind := take(1); kind % 8 {
		case 0:
			a[i] = kind >> 3
		case 1:
			a[i] = f.buf + take(2)
		case 2:
			a[i] = take(8)
		case 3:
			a[i] = []uint64{f.readOnly, f.edge, f.reserved, nowhere, callPageAddress, bellAddress, tablesAddress, stackTop - 8}[kind>>3%8]
		case 4:
			a[i] = pageSize * take(2)
		case 5:
			a[i] = []uint64{inputNo, outputNo, wall.ControlDescriptor, firstGranted + 2, firstGranted + 3, 2, ceiling, inSize}[kind>>3%8]
		case 6:
			a[i] = -take(1)
		case 7:
			a[i] = []uint64{
				unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED,
				unix.PROT_READ | unix.PROT_WRITE, blockSize, futexWait | futexPrivate, futexWake | futexPrivate,
				wall.ThreadFlags, noFD,
			}[kind>>3%8]
		}
	}
	// Most of the time what the table looks at is as it should be, or the
	// guest would end at once.
	for _, arg := range wall.Lookup(number).Args {
		if arg.OneOf != nil && take(1)%64 != 0 {
			a[arg.Index] = arg.OneOf[a[arg.Index]%uint64(len(arg.OneOf))].Value
		}
	}
	switch number {
	case unix.SYS_NANOSLEEP:
		a[0] = alwaysZero
	case unix.SYS_FUTEX:
		a[3] = alwaysZero
	case unix.SYS_EPOLL_PWAIT:
		a[3] = 0
	}
	return number, a, data
}
