package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// A ballast is a process that holds some page of each huge page of the memory that
// is free. A hypervisor that is told of free memory (free page reporting, of whole
// huge pages) takes it back, and whoever is the next to use it waits for it: some
// run or other, for longer than the work takes. Of memory in small pieces it is not
// told. It is a process of its own because what a program that is run is said to
// have taken at most begins with what its parent has.
type ballast struct {
	cmd  *exec.Cmd
	hold io.Closer // it ends when this is closed
}

const (
	ballastStep = 512 << 10 // one page of each is held: neighbours need not be so in the machine
	ballastLess = 512 << 20 // bytes left as they are, for those who want huge pages
)

// reporting says whether the kernel tells a hypervisor of free memory.
func reporting() bool {
	_, err := os.Stat("/sys/module/page_reporting/parameters/page_reporting_order")
	return err == nil
}

// newBallast starts a ballast, and waits until it holds what it is to hold.
func newBallast() (*ballast, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-"+holdFlag)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("ballast: %w", err)
	}
	b := &ballast{cmd, in}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return nil, fmt.Errorf("ballast: %w", errors.Join(err, b.drop()))
	}
	return b, nil
}

func (b *ballast) drop() error {
	return errors.Join(b.hold.Close(), b.cmd.Wait())
}

// holdFlag has the program be a ballast.
const holdFlag = "hold-ballast"

// holdBallast is what the process of a ballast does: it says that it is ready, and
// waits for its standard input to end.
func holdBallast() error {
	free, err := freeMemory()
	if err != nil {
		return err
	}
	if n := (free - ballastLess) / ballastStep * ballastStep; n > 0 {
		if err := fragment(n); err != nil {
			return fmt.Errorf("ballast of %d bytes: %w", n, err)
		}
	}
	if _, err := os.Stdout.WriteString("\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// fragment takes n bytes of memory, and gives back all but a page here and there.
func fragment(n int64) error {
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	if err := unix.Madvise(m, unix.MADV_NOHUGEPAGE); err != nil {
		return err
	}
	page := os.Getpagesize()
	for i := 0; i < len(m); i += page {
		m[i] = 1
	}
	for i := 0; i < len(m); i += ballastStep {
		if err := unix.Madvise(m[i+page:i+ballastStep], unix.MADV_DONTNEED); err != nil {
			return err
		}
	}
	return nil
}

// freeMemory returns how many bytes nobody uses, not even for the page cache.
func freeMemory() (int64, error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemFree: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/meminfo: no MemFree")
}
