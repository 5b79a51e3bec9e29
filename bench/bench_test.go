package main

import (
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// The bench works: with small inputs, every row is measured, and all outputs
// are equal. What comes out says nothing about time.
func TestBenchOnSmallInputs(t *testing.T) {
	testutil.QemuImg(t)
	o := options{
		instar: program.Instar(),
		data:   t.TempDir(),
		tree:   "../docs",
		size:   4 << 20,
		rounds: 1,
		starts: 1,
	}
	r, err := bench(o, "", func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.failed {
		t.Error(f)
	}
	page, err := render(o, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.tables {
		if row.missing != "" && row.dir == "" { // a file system with reflink takes more than a program
			t.Errorf("%s: %s", row.title, row.missing)
		}
		if !strings.Contains(page, "## "+row.title+"\n") {
			t.Errorf("the page has no row %q", row.title)
		}
	}
	for _, c := range r.curves {
		if err := xml.Unmarshal([]byte(svg(c)), new(struct{})); err != nil {
			t.Errorf("plot %s: %v", c.name, err)
		}
	}
	name := filepath.Join(o.data, "page", "benchmarks.md")
	if err := save(name, page, r.curves); err != nil {
		t.Fatal(err)
	}
	plots, err := filepath.Glob(filepath.Join(o.data, "page", "plots", "*.svg"))
	if err != nil || len(plots) != 5 {
		t.Errorf("plots %v (%v), not 5", plots, err)
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	samples := []sample{{memory: 5}, {memory: 1}, {memory: 9}, {memory: 2}, {memory: 7}}
	if got := of(samples, memory); got != 5 {
		t.Errorf("the median is %d, not 5", got)
	}
}

func TestSlopeIsTheExponent(t *testing.T) {
	var points []point
	for x := 1.0; x < 100; x *= 3 {
		points = append(points, point{x: x, time: 7 * x * x, memory: 5})
	}
	if got := slope(points, pointTime); math.Abs(got-2) > 1e-9 {
		t.Errorf("the slope of a square is %v", got)
	}
	if got := slope(points, pointMemory); math.Abs(got) > 1e-9 {
		t.Errorf("the slope of what is level is %v", got)
	}
}

func TestCallsAreCounted(t *testing.T) {
	const text = "% time     seconds  usecs/call     calls    errors syscall\n" +
		" 50.00    0.000010           1         7           read\n" +
		"------ ----------- ----------- --------- --------- ------------------------\n" +
		"100.00    0.303765         171      1768        43 total\n"
	if got := totalCalls(text); got != 1768 {
		t.Errorf("%d calls, not 1768", got)
	}
	if got := totalCalls("nothing"); got != -1 {
		t.Errorf("%d calls of nothing", got)
	}
}
