//go:build linux && amd64

package kvm

import (
	"math/bits"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"instar/job/wall"
)

// TestEveryCallHasAHandler holds the handlers to the table.
func TestEveryCallHasAHandler(t *testing.T) {
	for c := range wall.Calls() {
		if _, ok := handlers[c.Number]; ok != (c.Refusal == 0) {
			t.Errorf("%s is carried out: %v; the table refuses it: %v", c.Name, ok, c.Refusal != 0)
		}
	}
	for number := range handlers {
		if wall.Lookup(number) == nil {
			t.Errorf("call %d is carried out, and not in the table", number)
		}
	}
}

// permitted returns arguments for c that the table permits, with the
// descriptors of f.
func (f *fixture) permitted(c *wall.Call) []uint64 {
	a := make([]uint64, 6)
	for _, arg := range c.Args {
		switch {
		case arg.OneOf != nil:
			a[arg.Index] = arg.OneOf[0].Value
		case arg.Descriptor != 0:
			a[arg.Index] = f.descriptors()[arg.Descriptor&-arg.Descriptor]
		}
	}
	return a
}

// descriptors returns one of each kind.
func (f *fixture) descriptors() map[wall.Kind]uint64 {
	if f.kinds == nil {
		f.kinds = map[wall.Kind]uint64{
			wall.Standard: 2,
			wall.Control:  wall.ControlDescriptor,
			wall.Input:    inputNo,
			wall.Output:   outputNo,
			wall.Event:    f.must(unix.SYS_EVENTFD2, 0, 0),
			wall.Poll:     f.must(unix.SYS_EPOLL_CREATE1, 0),
		}
	}
	return f.kinds
}

// TestArgumentsOutsideTheTable gives each argument that the table looks at a
// value that it does not have there.
func TestArgumentsOutsideTheTable(t *testing.T) {
	for c := range wall.Calls() {
		for _, arg := range c.Args {
			for _, v := range outside(&arg) {
				f := newFixture(t)
				a := f.permitted(c)
				a[arg.Index] = v
				f.call(c.Number, a...)
				if got := f.outcome(); got != Forbidden || !f.thread.done {
					t.Errorf("%s with %s of %#x: outcome %q", c.Name, arg.Name, v, got)
				}
			}
		}
	}
}

// outside returns values that the argument must not have, next to those that it
// may have.
func outside(a *wall.Arg) []uint64 {
	var values []uint64
	switch {
	case a.OneOf != nil:
		in := func(v uint64) bool {
			return slices.ContainsFunc(a.OneOf, func(o wall.Value) bool { return o.Value == v })
		}
		for _, o := range a.OneOf {
			for bit := range 64 {
				if v := o.Value ^ 1<<bit; !in(v) && (bit < 6 || bit == 30 || bit == 63) {
					values = append(values, v)
				}
			}
		}
	case a.Bits != nil:
		for bit := range 64 {
			if wall.Mask(a.Bits)&(1<<bit) == 0 && (bits.OnesCount(uint(bit)) == 1 || bit == 63) {
				values = append(values, 1<<bit)
			}
		}
	}
	return values
}

// TestDescriptorsOutsideTheTable gives each call the kinds of descriptor that
// it must not be used on, and none.
func TestDescriptorsOutsideTheTable(t *testing.T) {
	f := newFixture(t)
	for c := range wall.Calls() {
		for _, arg := range c.Args {
			if arg.Descriptor == 0 {
				continue
			}
			wrong := []uint64{outputNo + 3, 1 << 31, 1<<64 - 1}
			for kind, number := range f.descriptors() {
				if arg.Descriptor&kind == 0 {
					wrong = append(wrong, number)
				}
			}
			for _, number := range wrong {
				a := f.permitted(c)
				a[arg.Index] = number
				if _, errno := f.call(c.Number, a...); errno != unix.EBADF {
					t.Errorf("%s with %s of %d: %v", c.Name, arg.Name, int64(number), errno)
				}
			}
		}
	}
	if o := f.outcome(); o != "" {
		t.Errorf("the guest ended: %s", o)
	}
}

// TestCeiling has every call that can make the output longer go up to the
// ceiling, and one byte beyond.
func TestCeiling(t *testing.T) {
	f := newFixture(t)
	in, out := f.buf, f.buf+8
	touch := map[uint64]func(end uint64) []uint64{ // calls that touch the ten bytes before end
		unix.SYS_PWRITE64:  func(end uint64) []uint64 { return []uint64{outputNo, f.buf, 10, end - 10} },
		unix.SYS_FALLOCATE: func(end uint64) []uint64 { return []uint64{outputNo, 0, end - 10, 10} },
		unix.SYS_FTRUNCATE: func(end uint64) []uint64 { return []uint64{outputNo, end} },
		unix.SYS_COPY_FILE_RANGE: func(end uint64) []uint64 {
			f.poke(in, 0, end-10)
			return []uint64{inputNo, in, outputNo, out, 10, 0}
		},
	}
	for c := range wall.Calls() {
		if !slices.ContainsFunc(c.Args, func(a wall.Arg) bool { return a.Ceiling }) {
			continue
		}
		args, ok := touch[c.Number]
		if !ok {
			t.Errorf("%s is bounded by the ceiling, and not tried", c.Name)
			continue
		}
		if _, errno := f.call(c.Number, args(ceiling)...); errno != 0 {
			t.Errorf("%s up to the ceiling: %v", c.Name, errno)
		}
		if _, errno := f.call(c.Number, args(ceiling+1)...); errno != unix.EFBIG {
			t.Errorf("%s beyond the ceiling: %v", c.Name, errno)
		}
		if info, _ := f.out.Stat(); info.Size() != ceiling {
			t.Errorf("%s left %d bytes", c.Name, info.Size())
		}
		f.must(unix.SYS_FTRUNCATE, outputNo, 0)
	}
}
