//go:build linux && amd64

package kvm

import (
	"os"

	"golang.org/x/sys/unix"
)

// Check says why the program exe cannot run in a microVM here: the error is an
// *UnusableError with a reason and, where there is something to do, a hint. It
// is cheap and not the last word, which is a guest that runs.
func Check(exe string) error {
	f, err := os.Open(exe)
	if err != nil {
		return &UnusableError{Err: err}
	}
	defer f.Close()
	if _, err := openProgram(f); err != nil {
		return &UnusableError{Err: err}
	}
	fd, err := openKVM()
	if err != nil {
		return err
	}
	unix.Close(fd)
	return nil
}
