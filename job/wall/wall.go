// Package wall is the table of system calls: all that a worker may ask of
// whatever is outside of its own memory. It is data. Two enforcers carry it
// out: the microVM's host serves its calls and no others (host/sandbox/kvm),
// and in the jail a seccomp filter made from it lets them through
// (host/sandbox/jail). docs/sandbox.md shows it to people.
package wall

import (
	"iter"

	"golang.org/x/sys/unix"
)

// ControlDescriptor is the worker's end of the control channel. The three below
// it are standard input, output and error.
const ControlDescriptor = 3

// MaxDescriptors bounds the descriptors that a worker can have at a time.
const MaxDescriptors = 4096

// LeaveZeros is a flag of copy_file_range that only the microVM knows: blocks of
// SparseBlock bytes of the output, counted from where the copy begins, are left
// alone where they would become all zeros. With SkipHoles as well, holes of the
// input are looked for, and not read. The kernel refuses both.
const (
	LeaveZeros  = 1 << 31
	SkipHoles   = 1 << 30
	SparseBlock = 4096
)

// SeekRuns is a whence of lseek that only the microVM knows: runs of data from the
// offset on, MaxRuns at the most, are put where the fourth argument points, which
// has room for as many as the fifth says. The result is how many there are. The
// kernel refuses it.
const (
	SeekRuns = 1 << 16
	MaxRuns  = 256
)

// A Run is data of a file between two offsets in bytes, as SeekRuns tells of it in
// RunSize bytes.
type Run struct{ Start, End int64 }

// RunSize is the size of a Run in memory.
const RunSize = 16

// A Call is one system call that a worker may make.
type Call struct {
	Number uint64 // on this architecture
	Name   string
	For    string // what a worker needs it for, in one line
	// Start says that only a program's start needs it. The jail, which closes
	// when the program has started, does not let it through.
	Start bool
	// Args are the arguments that are looked at.
	Args []Arg
	// Refusal is what the call is answered with instead of being carried out:
	// a program makes it and can do without. 0 for calls that are carried out.
	Refusal unix.Errno
}

// An Arg says what one argument of a call must be. Exactly one of OneOf, Bits,
// Descriptor and Ceiling is set.
type Arg struct {
	Index int // from 0
	Name  string
	// OneOf are the values that it can have.
	OneOf []Value
	// Bits are the bits that it can have, any of them or none.
	Bits []Value
	// Descriptor are the kinds of descriptor of which it must name one.
	Descriptor Kind
	// Ceiling says that it bounds what is written to the output, in which no
	// byte at the output's ceiling or above may be touched.
	Ceiling bool
}

// A Value is a number that a manual page has a name for.
type Value struct {
	Name  string
	Value uint64
}

// A Kind is a set of kinds of descriptor.
type Kind uint

// The kinds of descriptor that a worker can have.
const (
	Standard Kind = 1 << iota // standard input, output and error; what is written there is kept for the log
	Control                   // the control channel
	Input                     // granted for reading
	Output                    // granted for writing, up to a ceiling
	Event                     // an eventfd of the worker's own
	Poll                      // an epoll instance of the worker's own
)

// Sets of kinds.
const (
	Granted = Input | Output // what a job brings
	Any     = Standard | Control | Granted | Event | Poll
)

// Lookup returns the call of that number, or nil: the worker has no business
// with it.
func Lookup(number uint64) *Call {
	if number < uint64(len(byNumber)) {
		return byNumber[number]
	}
	return nil
}

// maxNumber is above every number of a system call.
const maxNumber = 512

var byNumber = func() (t [maxNumber]*Call) {
	for c := range Calls() {
		t[c.Number] = c
	}
	return t
}()

// Calls returns the calls of the table, in the order of its page.
func Calls() iter.Seq[*Call] {
	return func(yield func(*Call) bool) {
		for i := range Table {
			for j := range Table[i].Calls {
				if !yield(&Table[i].Calls[j]) {
					return
				}
			}
		}
	}
}

// Len returns the number of calls that are carried out: those that are answered
// with an error number without a look do not count.
func Len() int {
	n := 0
	for c := range Calls() {
		if c.Refusal == 0 {
			n++
		}
	}
	return n
}

// Permits reports whether the arguments have values that c allows. Descriptors
// and ranges mean something only to whoever made the grants, and are that
// enforcer's to check.
func (c *Call) Permits(args [6]uint64) bool {
	for i := range c.Args {
		if !c.Args[i].permits(args[c.Args[i].Index]) {
			return false
		}
	}
	return true
}

func (a *Arg) permits(v uint64) bool {
	switch {
	case a.OneOf != nil:
		for _, o := range a.OneOf {
			if v == o.Value {
				return true
			}
		}
		return false
	case a.Bits != nil:
		return v&^Mask(a.Bits) == 0
	}
	return true
}

// Mask returns the values' bits together.
func Mask(values []Value) uint64 {
	var m uint64
	for _, v := range values {
		m |= v.Value
	}
	return m
}

// Descriptors returns the kinds of descriptor that argument index must name,
// or 0 if it names none.
func (c *Call) Descriptors(index int) Kind {
	for _, a := range c.Args {
		if a.Index == index {
			return a.Descriptor
		}
	}
	return 0
}
