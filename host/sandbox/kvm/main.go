//go:build linux && amd64

package kvm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors of the VMM, see [Command].
const (
	controlFD = 3
	reportFD  = 4
)

// Main is the VMM: it runs the guest to its end, writes the report, and
// returns the exit code.
func Main() int {
	debug.SetGCPercent(400)
	r := Report{Outcome: Failed}
	if err := r.runGuest(os.Args); err != nil {
		r.blame(err)
	}
	b, err := json.Marshal(&r)
	if err != nil {
		return 1
	}
	if _, err := unix.Write(reportFD, b); err != nil || r.Err() != nil {
		return 1
	}
	return 0
}

// blame puts the end down to what went wrong in the VMM.
func (r *Report) blame(err error) {
	r.Outcome, r.Detail = Failed, err.Error()
	if u := (*UnusableError)(nil); errors.As(err, &u) {
		r.Outcome, r.Hint = Unusable, u.Hint
	}
}

// runGuest builds the machine, locks the VMM in, runs the guest, and fills in
// the report.
func (r *Report) runGuest(osArgs []string) error {
	if len(osArgs) != 2 {
		return errors.New("the microVM is started by the program itself")
	}
	c, err := parseConfig(osArgs[1])
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	r.Memory, r.Stall = c.Memory, c.Stall
	unix.CloseOnExec(controlFD)
	unix.CloseOnExec(reportFD)
	v, first, err := build(c)
	if err != nil {
		return err
	}
	// Whoever needs timers in the runtime needs them before the lock.
	watch := time.NewTicker(watchInterval)
	if r.Missing, err = lockIn(v); err != nil {
		return err
	}
	if got := int64(v.memory.limit); got < c.Memory {
		r.Memory = got
		r.Missing = append(r.Missing, fmt.Sprintf("the guest has %d MiB of memory and not %d: address space is limited (ulimit -v)", got>>20, c.Memory>>20))
	}
	go first.run()
	v.guest.watch(watch.C, c.Stall, v.threads)
	r.fill(v)
	return nil
}

// build opens KVM and makes the machine with the program in it.
func build(c Config) (*machine, *vcpu, error) {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, nil, &UnusableError{Err: fmt.Errorf("open the program: %w", err)}
	}
	defer exe.Close()
	program, err := openProgram(exe)
	if err != nil {
		return nil, nil, &UnusableError{Err: err}
	}
	v, err := assemble(exe, c)
	if err != nil {
		return nil, nil, err
	}
	s := v.guest.space
	if err := s.load(program); err != nil {
		return nil, nil, &UnusableError{Err: err}
	}
	stack, err := s.prepareStack([]string{GuestName}, environment(v.memory.limit), v.guest.clock.khz != 0)
	if err != nil {
		return nil, nil, fmt.Errorf("prepare the stack: %w", err)
	}
	first, err := v.begin(program.Entry, stack)
	if err != nil {
		return nil, nil, err
	}
	return v, first, nil
}

// assemble makes a machine with nothing in it but what every guest finds there.
func assemble(exe *os.File, c Config) (*machine, error) {
	fd, err := openKVM()
	if err != nil {
		return nil, err
	}
	info, err := exe.Stat()
	if err != nil {
		return nil, err
	}
	m, err := newMemory(c.Memory, int(exe.Fd()), info.Size())
	if err != nil {
		return nil, &UnusableError{Err: err}
	}
	v, err := newMachine(fd, m)
	if err != nil {
		return nil, &UnusableError{Err: err}
	}
	s, err := newSpace(m)
	if err != nil {
		return nil, err
	}
	if v.guest, err = newGuest(s, v, controlFD); err != nil {
		return nil, err
	}
	if v.steadyCounter() {
		v.guest.clock.khz = v.counterRate()
	}
	return v, nil
}

// environment is the guest's: no signals to preempt goroutines by, since the
// guest gets none; no look for how many processors there are; and a heap that
// stays clear of the memory limit.
func environment(memory uint64) []string {
	return []string{
		"GODEBUG=asyncpreemptoff=1",
		fmt.Sprintf("GOMAXPROCS=%d", procs()),
		fmt.Sprintf("GOMEMLIMIT=%d", memory/8*5),
	}
}

// fill fills the figures in once the guest has ended.
func (r *Report) fill(v *machine) {
	g := v.guest
	end := <-g.ended
	r.Outcome, r.Code, r.Detail, r.Log = end.outcome, end.code, end.detail, g.log.bytes()
	if short := g.shortage.Load(); short != nil && r.Outcome == Exited && r.Code != 0 {
		r.Outcome = *short
	}
	r.Exits = g.stats.exits.Load()
	r.Calls = g.callCounts()
	r.Read, r.Written, r.Offloaded = g.stats.read.Load(), g.stats.written.Load(), g.stats.offloaded.Load()
	r.Emulated, r.Clock = v.ring3.Load(), g.clock.khz != 0
	r.MemoryPeak = g.space.peak()
	r.VCPUs = v.count()
}
