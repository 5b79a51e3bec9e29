package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A table is a row with its measurements, one list for each contender.
type table struct {
	row
	samples [][]sample
	extras  []extra
}

// A sample is one run. Times and memory are those of the program and of the
// processes that it started; memory is the most that one of them took.
type sample struct {
	elapsed, user, system time.Duration
	memory                int64 // bytes
}

// An extra is what is seen of a contender in runs that are not timed.
type extra struct {
	calls int64 // system calls; -1 is unknown
	exits int64 // of the microVM; -1 if there is none
	size  int64 // of the output, bytes
}

// measure runs the contenders of a row in turn: a warm-up round, in which the
// outputs are compared, and then the rounds that count, each in an order of its own:
// it makes a difference who comes after whom. There are more of them while they have
// taken little time: where others disturb some, the median does not show it.
func measure(o options, r row) (table, error) {
	t := table{row: r, samples: make([][]sample, len(r.contenders)), extras: make([]extra, len(r.contenders))}
	if r.missing != "" {
		return t, nil
	}
	if r.dir == "" {
		r.dir = o.data
	}
	first := filepath.Join(r.dir, firstFile)
	defer os.Remove(first)
	defer os.Remove(filepath.Join(r.dir, outputFile))
	var began time.Time // of the rounds that count
	for round := 0; round <= r.rounds || round <= 3*r.rounds && time.Since(began) < o.more; round++ {
		if round == 1 {
			began = time.Now()
		}
		order := rand.Perm(len(r.contenders))
		if round == 0 {
			slices.Sort(order) // the first one's output is what the others' are compared with
		}
		for _, i := range order {
			c := r.contenders[i]
			s, err := measureOne(o, r.dir, c.argv)
			if err != nil {
				return t, fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 {
				t.samples[i] = append(t.samples[i], s)
				continue
			}
			if err := check(r, i); err != nil {
				return t, fmt.Errorf("%s: %w", c.name, err)
			}
			if t.extras[i], err = look(o, r, c, s.elapsed); err != nil {
				return t, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return t, nil
}

// check compares the output of a row's contender: with the first one's, or by
// qemu-img with the input, if there is one of the same content.
func check(r row, i int) error {
	output, first := filepath.Join(r.dir, outputFile), filepath.Join(r.dir, firstFile)
	switch {
	case r.output == "":
		return nil
	case r.reference != "":
		return command(r.dir, "qemu-img", "compare", "-q", "-f", format(r.reference), "-F", r.output, r.reference, outputFile)
	case i == 0:
		return os.Rename(output, first)
	}
	return sameContent(first, output)
}

// look runs a contender once more under strace, and the program so that it
// tells how often the microVM was left. The output's size is that of the warm-up
// run.
func look(o options, r row, c contender, took time.Duration) (extra, error) {
	x := extra{calls: -1, exits: -1}
	for _, name := range []string{outputFile, firstFile} {
		if info, err := os.Stat(filepath.Join(r.dir, name)); err == nil {
			x.size = info.Size()
			break
		}
	}
	if c.argv[0] == o.instar {
		argv := append([]string{c.argv[0], c.argv[1], "-v"}, c.argv[2:]...)
		_, report, err := runOne(o, r.dir, argv)
		if err != nil {
			return x, err
		}
		x.exits = number(report, exitsLine)
	}
	if _, err := exec.LookPath("strace"); err != nil || !o.trace || took > tooLong {
		return x, nil
	}
	counts := filepath.Join(o.data, "strace.out")
	defer os.Remove(counts)
	// What cannot be traced has no figure: the walls may refuse it.
	if _, _, err := runOne(o, r.dir, append([]string{"strace", "-f", "-c", "-o", counts}, c.argv...)); err == nil {
		text, err := os.ReadFile(counts)
		if err != nil {
			return x, err
		}
		x.calls = totalCalls(string(text))
	}
	return x, nil
}

// tooLong is when a run is not repeated under strace, which makes it several
// times as long.
const tooLong = 5 * time.Second

var exitsLine = regexp.MustCompile(`(?m)exits: (\d+)$`)

// number returns the number that a line of text has; -1 is no such line.
func number(text []byte, line *regexp.Regexp) int64 {
	m := line.FindSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// totalCalls returns the sum of a table of strace -c; -1 if it has none.
func totalCalls(text string) int64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[len(fields)-1] != "total" {
			continue
		}
		if n, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
			return n
		}
	}
	return -1
}

// measureOne runs one contender, with no output there and nothing that has yet
// to be written to the disk.
func measureOne(o options, dir string, argv []string) (sample, error) {
	s, _, err := runOne(o, dir, argv)
	return s, err
}

// runOne does so and returns what it said on standard error, too.
func runOne(o options, dir string, argv []string) (sample, []byte, error) {
	if err := os.Remove(filepath.Join(dir, outputFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sample{}, nil, err
	}
	if o.settle {
		unix.Sync()
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	elapsed := time.Since(start)
	if err != nil {
		return sample{}, nil, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	s := sample{elapsed: elapsed, user: cmd.ProcessState.UserTime(), system: cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.memory = usage.Maxrss * 1024
	}
	return s, stderr.Bytes(), nil
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
