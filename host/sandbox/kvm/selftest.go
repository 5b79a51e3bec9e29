//go:build linux && amd64

package kvm

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// SelfTest runs the smallest of guests, one that makes a system call, and says
// why it could not: the error is an *UnusableError. It takes a few
// milliseconds. When ctx ends first, the guest is left behind.
func SelfTest(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- selfTest() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &UnusableError{Err: fmt.Errorf("a guest does not come back: %w", context.Cause(ctx))}
	}
}

func selfTest() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return &UnusableError{Err: err}
	}
	defer exe.Close()
	v, err := assemble(exe, Config{Memory: blockSize, VCPUs: 1})
	if err != nil {
		return err
	}
	defer v.close()
	c, err := v.begin(0, 0)
	if err != nil {
		return err
	}
	if err := c.runGuest(); err != nil {
		return &UnusableError{Err: err}
	}
	if err := c.fetch(); err != nil {
		return &UnusableError{Err: err}
	}
	if c.state.ExitReason != exitMMIO || c.state.MMIO.Address != bellPhysical || !c.atCall() {
		return &UnusableError{Err: fmt.Errorf("a guest's system call left the machine by exit %d at %#x", c.state.ExitReason, c.registers().RIP)}
	}
	return nil
}

// close releases what the machine holds.
func (v *machine) close() {
	for _, c := range v.cpus {
		unix.Munmap(c.page)
		unix.Close(c.fd)
	}
	unix.Close(v.guest.poll.fd)
	unix.Close(v.vm)
	unix.Close(v.kvm)
	v.memory.release()
}
