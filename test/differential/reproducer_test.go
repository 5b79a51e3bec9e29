package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// String writes a trial as parseTrial reads it: one command a line, and the one
// that is compared last, behind ">".
func (c trial) String() string {
	var b strings.Builder
	for _, args := range c.setup {
		b.WriteString(quote(args) + "\n")
	}
	return b.String() + "> " + quote(c.line) + "\n"
}

func quote(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; a == "" || strings.ContainsAny(a, " '\"\\") {
			words[i] = strconv.Quote(a)
		}
	}
	return strings.Join(words, " ")
}

func unquote(line string) (args []string, err error) {
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
		word, _, _ := strings.Cut(rest, " ")
		if rest[0] == '"' {
			if word, err = strconv.QuotedPrefix(rest); err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			rest = rest[len(word):]
			word, _ = strconv.Unquote(word)
		} else {
			rest = rest[len(word):]
		}
		args = append(args, word)
	}
	return args, nil
}

// parseTrial reads what String wrote. Lines that begin with "#" say what it is.
func parseTrial(text string) (c trial, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		command, last := strings.CutPrefix(line, "> ")
		args, err := unquote(command)
		if err != nil {
			return trial{}, err
		}
		if last {
			c.line = args
		} else {
			c.setup = append(c.setup, args)
		}
	}
	if len(c.line) == 0 {
		return trial{}, fmt.Errorf("no line to compare")
	}
	return c, nil
}

// TestReproducers runs again what random trials have found.
func TestReproducers(t *testing.T) {
	names, err := filepath.Glob("testdata/reproducers/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d reproducers, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := parseTrial(string(content))
			if err != nil {
				t.Fatal(err)
			}
			if v, made := c.run(t, t.TempDir(), nil); !made {
				t.Error("its images cannot be made")
			} else if v.kind != "" {
				t.Error(v)
			}
		})
	}
}

// shrink returns the smallest trial that it finds to differ in the same way.
func (c trial) shrink(fails func(trial) bool) trial {
	const tries = 60
	left := tries
	for found := true; found; {
		found = false
		for _, smaller := range c.smaller() {
			if left--; left < 0 {
				return c
			}
			if fails(smaller) {
				c, found = smaller, true
				break
			}
		}
	}
	return c
}

// smaller returns trials with something left out, the largest parts first.
func (c trial) smaller() (list []trial) {
	for i := range c.setup {
		list = append(list, trial{slices.Delete(slices.Clone(c.setup), i, i+1), c.line})
	}
	for _, args := range fewer(c.line) {
		list = append(list, trial{c.setup, args})
	}
	for i, command := range c.setup {
		for _, args := range fewer(command[1:]) {
			setup := slices.Clone(c.setup)
			setup[i] = append([]string{command[0]}, args...)
			list = append(list, trial{setup, c.line})
		}
	}
	return list
}

// fewer returns arguments of which one or two are left out, with a part of a
// list left out, or with half of a size.
func fewer(args []string) (list [][]string) {
	for i := 1; i < len(args); i++ {
		if i+1 < len(args) {
			list = append(list, slices.Delete(slices.Clone(args), i, i+2))
		}
		list = append(list, slices.Delete(slices.Clone(args), i, i+1))
		with := func(word string) {
			other := slices.Clone(args)
			other[i] = word
			list = append(list, other)
		}
		if parts := strings.Split(args[i], ","); len(parts) > 1 {
			for k := range parts {
				with(strings.Join(slices.Delete(slices.Clone(parts), k, k+1), ","))
			}
		}
		if n, err := strconv.ParseInt(args[i], 10, 64); err == nil && n >= 1024 {
			with(fmt.Sprint(n / 1024 * 512))
		}
	}
	return list
}

func TestTrialsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	c := trial{[][]string{{"qemu-io", "-c", "write -P 1 0 64k", "a b"}, {"qemu-img", "create", "x", ""}}, []string{"dd", `if="\`, "of=out"}}
	got, err := parseTrial("# why\n" + c.String())
	if err != nil || got.String() != c.String() || len(got.setup) != 2 || !slices.Equal(got.line, c.line) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestShrinkFindsTheSmallest(t *testing.T) {
	t.Parallel()
	c := trial{
		[][]string{{"qemu-img", "create", "-f", "qcow2", "-o", "a=1,bug=2,c=3", "a", "1048576"}, {"qemu-io", "-c", "write 0 1", "a"}},
		[]string{"convert", "-q", "-m", "4", "-O", "raw", "a", "out"},
	}
	got := c.shrink(func(c trial) bool {
		return strings.Contains(c.String(), "bug=2") && strings.Contains(c.String(), "-O raw")
	})
	if want := "qemu-img create bug=2\n> convert -O raw\n"; got.String() != want {
		t.Errorf("%q, want %q", got, want)
	}
}
