package main

import (
	"os"
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
	page, err := bench(options{
		instar: program.Instar(),
		data:   t.TempDir(),
		tree:   "../docs",
		size:   4 << 20,
		rounds: 1,
		starts: 1,
	}, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows(options{}) {
		if !strings.Contains(page, "## "+r.title+"\n") {
			t.Errorf("the page has no row %q", r.title)
		}
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	samples := []sample{{memory: 5}, {memory: 1}, {memory: 9}, {memory: 2}, {memory: 7}}
	if got := of(samples, memory); got != 5 {
		t.Errorf("the median is %d, not 5", got)
	}
}
