package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A table is a row with its measurements, one list for each contender.
type table struct {
	row
	samples [][]sample
}

// A sample is one run. Times and memory are those of the program and of the
// processes that it started; memory is the most that one of them took.
type sample struct {
	elapsed, user, system time.Duration
	memory                int64 // bytes
}

// measure runs the contenders of a row in turn: a warm-up round, in which the
// outputs are compared, and then the rounds that count.
func measure(o options, r row) (table, error) {
	t := table{row: r, samples: make([][]sample, len(r.contenders))}
	first, output := filepath.Join(o.data, firstFile), filepath.Join(o.data, outputFile)
	defer os.Remove(first)
	defer os.Remove(output)
	for round := range r.rounds + 1 {
		for i, c := range r.contenders {
			s, err := measureOne(o.data, c.argv)
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 {
				t.samples[i] = append(t.samples[i], s)
				continue
			}
			if !r.outputs {
				continue
			}
			if i == 0 {
				if err := os.Rename(output, first); err != nil {
					return table{}, err
				}
			} else if err := sameContent(first, output); err != nil {
				return table{}, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return t, nil
}

// measureOne runs one contender, with no output there and nothing that has yet
// to be written to the disk.
func measureOne(dir string, argv []string) (sample, error) {
	if err := os.Remove(filepath.Join(dir, outputFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sample{}, err
	}
	unix.Sync()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	elapsed := time.Since(start)
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	s := sample{elapsed: elapsed, user: cmd.ProcessState.UserTime(), system: cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.memory = usage.Maxrss * 1024
	}
	return s, nil
}

// sameContent returns an error unless two files have the same content.
func sameContent(a, b string) error {
	af, err := os.Open(a)
	if err != nil {
		return err
	}
	defer af.Close()
	bf, err := os.Open(b)
	if err != nil {
		return err
	}
	defer bf.Close()
	const piece = 1 << 20
	x, y := make([]byte, piece), make([]byte, piece)
	for at := int64(0); ; at += piece {
		n, errA := io.ReadFull(af, x)
		m, errB := io.ReadFull(bf, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return fmt.Errorf("its output differs from the first one's, after byte %d", at)
		}
		if errA != nil || errB != nil {
			return errors.Join(unexpected(errA), unexpected(errB))
		}
	}
}

// unexpected returns err unless it is the end of the file.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// of returns the median of one figure of the samples.
func of[T int64 | time.Duration](samples []sample, figure func(sample) T) T {
	values := figures(samples, figure)
	return values[len(values)/2]
}

// figures returns one figure of the samples, in ascending order.
func figures[T int64 | time.Duration](samples []sample, figure func(sample) T) []T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	slices.Sort(values)
	return values
}

func elapsed(s sample) time.Duration { return s.elapsed }
func user(s sample) time.Duration    { return s.user }
func system(s sample) time.Duration  { return s.system }
func memory(s sample) int64          { return s.memory }
