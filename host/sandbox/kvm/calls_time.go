//go:build linux && amd64

package kvm

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// timespec brings in the guest's struct timespec at address.
func (g *guest) timespec(address uint64) (*unix.Timespec, unix.Errno) {
	var b [16]byte
	if errno := g.space.copyIn(b[:], address, false); errno != 0 {
		return nil, errno
	}
	ts := &unix.Timespec{
		Sec:  int64(binary.LittleEndian.Uint64(b[0:])),
		Nsec: int64(binary.LittleEndian.Uint64(b[8:])),
	}
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return nil, unix.EINVAL
	}
	return ts, 0
}

// A thread that has slept for a little again and again with no other call in
// between, as the Go scheduler's monitor does, is a monitor: from then on it
// sleeps for at least nap, since each time that it looks costs exits.
const (
	nap      = 20 * time.Millisecond
	shortNap = 20 * time.Microsecond // what is shorter is a pause in a spin
	someNaps = 4
)

func (g *guest) nanosleep(r *request) (uint64, unix.Errno) {
	t := r.thread
	ts, errno := g.timespec(r.args[0])
	if errno != 0 {
		return 0, errno
	}
	if d := time.Duration(ts.Nano()); ts.Sec == 0 && d >= shortNap && d < nap {
		t.naps++
		t.monitor = t.monitor || t.naps >= someNaps
		if t.monitor {
			ts.Nsec = int64(nap)
		}
	}
	return 0, errnoOf(unix.Nanosleep(ts, nil))
}

// errnoOf returns the error number of what package unix returned.
func errnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(unix.Errno); ok {
		return errno
	}
	return unix.EIO
}

// clockGettime serves a guest that has no clock of its own, see [clock].
func (g *guest) clockGettime(r *request) (uint64, unix.Errno) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(r.args[0]), &ts); err != nil {
		return 0, errnoOf(err)
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(ts.Sec))
	b = binary.LittleEndian.AppendUint64(b, uint64(ts.Nsec))
	return 0, g.space.copyOut(r.args[1], b)
}

// maxRandom bounds what one call of getrandom gives.
const maxRandom = 64 << 10

func (g *guest) getrandom(r *request) (uint64, unix.Errno) {
	n := min(r.args[1], maxRandom)
	views, errno := g.space.view(r.thread.views[:0], r.args[0], n, true)
	if errno != 0 {
		return 0, errno
	}
	for _, v := range views {
		for len(v) > 0 {
			k, err := unix.Getrandom(v, 0)
			if err != nil {
				return 0, errnoOf(err)
			}
			v = v[k:]
		}
	}
	return n, 0
}

// A clock is how the guest tells the time by itself: from the processor's time
// stamp counter, in step with the VMM's clocks.
type clock struct {
	khz uint64 // of the counter; 0 if it cannot be relied upon
}

// parameters returns the words that the guest's clock computes from: the
// counter's value now, by how much to multiply what it has advanced since, in
// units of 2^-32 nanoseconds, and the nanoseconds that CLOCK_REALTIME and
// CLOCK_MONOTONIC read now.
func (c clock) parameters(counter uint64) [4]uint64 {
	return [4]uint64{counter, 1e6 << 32 / c.khz, nanoseconds(unix.CLOCK_REALTIME), nanoseconds(unix.CLOCK_MONOTONIC)}
}

func nanoseconds(clock int32) uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano())
}
