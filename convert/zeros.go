package convert

import (
	"sync/atomic"
	"time"

	"instar/internal/zeros"
)

// A run is [start, end) of the content of a piece.
type run struct {
	start, end int64
	zero       bool
}

// findZeros splits the content at off into runs, in order: zeros, of whole
// blocks (which lie at multiples of their size, a power of two), and everything
// else. A run of zeros of less than sparse bytes is left with what is before it
// unless it goes to the end.
func findZeros(content []byte, off, block, sparse int64) []run {
	var runs []run
	n := int64(len(content))
	next := func(at int64) int64 { return min(at+block-(off+at)%block, n) }
	for start := int64(0); start < n; {
		end := next(start)
		zero := zeros.All(content[start:end])
		for end < n && zeros.All(content[end:next(end)]) == zero {
			end = next(end)
		}
		if zero && end-start < sparse && start > 0 && end < n {
			zero = false
		}
		if k := len(runs) - 1; k >= 0 && runs[k].zero == zero {
			runs[k].end = end
		} else {
			runs = append(runs, run{start, end, zero})
		}
		start = end
	}
	return runs
}

// zeros splits the content of a piece as findZeros does, what is between known
// holes each by itself, as qemu-img reads it.
func (c *copier) zeros(p *piece) []run {
	var list []run
	add := func(r run) {
		if k := len(list) - 1; k >= 0 && list[k].zero == r.zero {
			list[k].end = r.end
		} else {
			list = append(list, r)
		}
	}
	at := int64(0)
	for _, hole := range append(c.holes(p), run{p.length, p.length, true}) {
		for _, r := range findZeros(p.content[at:hole.start], p.off+at, c.block, c.sparse) {
			add(run{at + r.start, at + r.end, r.zero})
		}
		if at = hole.end; hole.start < hole.end {
			add(hole)
		}
	}
	return list
}

// A onceFlag is set once and read by many.
type onceFlag struct{ v atomic.Bool }

func (f *onceFlag) set()        { f.v.Store(true) }
func (f *onceFlag) isSet() bool { return f.v.Load() }

// progress reports in steps of time: each report leaves the microVM and wakes the
// host.
type progress struct {
	report func(done, total int64)
	done   int64
	next   time.Time
}

const reportEvery = 100 * time.Millisecond

func (p *progress) add(n, total int64) {
	p.done += n
	if p.report == nil {
		return
	}
	if now := time.Now(); p.done == total || !now.Before(p.next) {
		p.next = now.Add(reportEvery)
		p.report(p.done, total)
	}
}
