//go:build linux && amd64

package kvm_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"instar/host/sandbox/kvm"
	"instar/job"
)

// BenchmarkStart is a VMM with a guest in it, from its start to its end.
func BenchmarkStart(b *testing.B) {
	var hello, end []time.Duration
	var exits uint64
	for b.Loop() {
		start := time.Now()
		v := ready(b, kvm.Config{})
		hello = append(hello, time.Since(start))
		exits = v.end().Exits
		end = append(end, time.Since(start))
	}
	slices.Sort(hello)
	slices.Sort(end)
	b.ReportMetric(hello[len(hello)/2].Seconds()*1e3, "ms-to-hello")
	b.ReportMetric(end[len(end)/2].Seconds()*1e3, "ms-to-end")
	b.ReportMetric(end[0].Seconds()*1e3, "ms-to-end-at-best")
	b.ReportMetric(float64(exits), "exits")
}

// BenchmarkExit is a system call that does nothing.
func BenchmarkExit(b *testing.B) {
	v := ready(b, kvm.Config{})
	var total, n float64
	for b.Loop() {
		ns, err := strconv.Atoi(v.ask("exits"))
		if err != nil {
			b.Fatal(err)
		}
		total += float64(ns)
		n++
	}
	b.ReportMetric(total/n, "ns/exit")
	v.end()
}

// BenchmarkCopy is a file copied through the guest, and by the kernel on the
// guest's behalf.
func BenchmarkCopy(b *testing.B) {
	const size = 1 << 30
	for _, script := range []string{"copy", "offload"} {
		b.Run(script, func(b *testing.B) {
			v := ready(b, kvm.Config{})
			dir := b.TempDir()
			in, out := create(b, dir, "in", size), create(b, dir, "out", 0)
			v.grant(in, &job.Grant{ID: 0, Access: job.Read})
			v.grant(out, &job.Grant{ID: 1, Access: job.Write, Ceiling: size})
			b.SetBytes(size)
			for b.Loop() {
				if got := v.ask(script); got == "" {
					b.Fatal("the guest ended")
				} else if _, err := strconv.Atoi(got); err != nil {
					b.Fatal(got)
				}
			}
			r := v.end()
			b.ReportMetric(float64(r.Exits)/float64(b.N), "exits/op")
		})
	}
}

// create makes a file of size bytes, none of them zero.
func create(t testing.TB, dir, name string, size int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i%251) + 1
	}
	for ; size > 0; size -= len(piece) {
		if _, err := f.Write(piece[:min(size, len(piece))]); err != nil {
			t.Fatal(err)
		}
	}
	return f
}
