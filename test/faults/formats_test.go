package faults

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"instar/convert"
	"instar/disk"
	"instar/disk/all"
	"instar/disk/disktest"
)

// A fuse lets so many calls through, and then fails one.
type fuse struct {
	mu    sync.Mutex
	calls int
	fail  int // number of the call that fails, from 1; 0 is none
	err   error
	short bool // the call does half of what it should before it fails
	size  bool // it was the length that could not be told
}

// burn counts a call, and says whether it fails.
func (f *fuse) burn() bool {
	f.calls++
	return f.calls == f.fail
}

// A target is a file in memory, of which a call fails.
type target struct {
	*fuse
	*disktest.Target
}

func (t target) WriteAt(p []byte, off int64) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.burn() {
		return t.Target.WriteAt(p, off)
	}
	n := 0
	if t.short {
		n, _ = t.Target.WriteAt(p[:len(p)/2], off)
	}
	return n, t.err
}

func (t target) Truncate(size int64) error {
	return t.guard(func() error { return t.Target.Truncate(size) })
}

func (t target) Zero(off, n int64) error {
	return t.guard(func() error { return t.Target.Zero(off, n) })
}

func (t target) Sync() error { return t.guard(t.Target.Sync) }

func (t target) guard(do func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.burn() {
		return t.err
	}
	return do()
}

// A file is one in memory, of which a call fails.
type file struct {
	*fuse
	disk.File
}

func (f file) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.burn() {
		return f.File.ReadAt(p, off)
	}
	n := 0
	if f.short {
		n, _ = f.File.ReadAt(p[:len(p)/2], off)
	}
	return n, f.err
}

func (f file) Size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.burn() {
		f.size = true
		return 0, f.err
	}
	return f.File.Size()
}

// A layout is a way in which a format is written.
type layout struct {
	format   string
	values   map[string]string
	compress bool
	secret   string
}

var layouts = []layout{
	{format: "raw"},
	{format: "qcow2"},
	{format: "qcow2", compress: true},
	{format: "qcow2", values: map[string]string{"compat": "0.10"}},
	{format: "qcow2", values: map[string]string{"extended_l2": "on"}},
	{format: "qcow2", values: map[string]string{"preallocation": "full"}},
	{format: "qcow"},
	{format: "qcow", compress: true},
	{format: "qed"},
	{format: "vdi"},
	{format: "vdi", values: map[string]string{"static": "on"}},
	{format: "parallels"},
	{format: "vpc"},
	{format: "vpc", values: map[string]string{"subformat": "fixed"}},
	{format: "vhdx"},
	{format: "vhdx", values: map[string]string{"subformat": "fixed"}},
	{format: "vmdk"},
	{format: "vmdk", values: map[string]string{"subformat": "streamOptimized"}},
	{format: "luks", values: map[string]string{"iter-time": "1"}, secret: "x"},
}

func (l layout) String() string {
	s := l.format
	for name, value := range l.values {
		s += "," + name + "=" + value
	}
	if l.compress {
		s += ",compressed"
	}
	return s
}

const diskSize = 2 << 20

// content is stored in the runs that the layouts are filled with.
func content() []byte {
	p := make([]byte, diskSize)
	for i := range p {
		if i>>17%3 != 1 {
			p[i] = byte(i*i>>7) | 1
		}
	}
	return p
}

// write writes a layout, and returns what it is and how it ended.
func (l layout) write(t *testing.T, f *fuse) ([]byte, convert.Result, error) {
	t.Helper()
	to := target{f, disktest.NewTarget(nil)}
	r, err := convert.Execute(t.Context(), convert.Execution{
		Source: disktestDisk{disktest.File(content()), diskSize}, Create: l.find(t).Create, Target: to, SkipZeros: true, Sync: true, Workers: 2,
		Options: disk.WriterOptions{Zeroed: true, Compress: l.compress, Values: maps.Clone(l.values), Secret: []byte(l.secret), Name: "x", Time: 1 << 30},
	})
	return to.Bytes(), r, err
}

func (l layout) find(t *testing.T) disk.Format {
	t.Helper()
	f, err := all.Registry().Lookup(l.format)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A disktestDisk is a disk that is one run of data.
type disktestDisk struct {
	disk.File
	size int64
}

func (d disktestDisk) Size() int64 { return d.size }

func (d disktestDisk) Extent(off, limit int64) (disk.Extent, error) {
	return disk.Extent{Start: off, Length: min(limit, d.size-off), Kind: disk.Data, File: d.File, Offset: off}, nil
}

// read reads a layout as a whole.
func (l layout) read(t *testing.T, f *fuse, image []byte) ([]byte, error) {
	t.Helper()
	img, err := l.find(t).Open(file{f, disktest.File(image)}, disk.OpenOptions{Passphrase: []byte(l.secret)})
	if err != nil {
		return nil, err
	}
	raw, err := all.Registry().Lookup("raw")
	if err != nil {
		t.Fatal(err)
	}
	to := target{&fuse{}, disktest.NewTarget(nil)}
	_, err = convert.Execute(t.Context(), convert.Execution{
		Source: disk.Chain(img), Create: raw.Create, Target: to, SkipZeros: true, Workers: 2,
		Options: disk.WriterOptions{Zeroed: true},
	})
	return to.Bytes(), err
}

// numbers are the calls of which one is to fail: all, or some of very many.
func numbers(calls int) []int {
	var list []int
	step := 1
	if !complete() {
		step = calls/10 + 1
	}
	for n := 1; n <= calls; n += step {
		list = append(list, n)
	}
	return list
}

// Every call that a writer makes fails in turn, and the copy with it.
func TestWritersFail(t *testing.T) {
	defer settle(t, runtime.NumGoroutine())
	faults := 0
	for _, l := range layouts {
		count := &fuse{}
		if _, _, err := l.write(t, count); err != nil {
			t.Fatalf("%v: %v", l, err)
		}
		for _, n := range numbers(count.calls) {
			for _, f := range []*fuse{{err: syscall.EIO}, {err: syscall.ENOSPC, short: true}} {
				f.fail = n
				_, r, err := l.write(t, f)
				var create *convert.CreateError
				var write *convert.WriteError
				if !errors.Is(err, f.err) || !errors.As(err, &create) && !errors.As(err, &write) || r != (convert.Result{}) {
					t.Errorf("%v: call %d of %d failed with %v, and the copy ends with %v, %v", l, n, count.calls, f.err, r, err)
				}
				faults++
			}
		}
	}
	t.Logf("%d faults in writers", faults)
}

// Every call that a reader makes fails in turn. An error is never taken for
// content: only the length of a file may be unknown, where nothing depends on it.
func TestReadersFail(t *testing.T) {
	defer settle(t, runtime.NumGoroutine())
	faults := 0
	for _, l := range layouts {
		image, _, err := l.write(t, &fuse{})
		if err != nil {
			t.Fatalf("%v: %v", l, err)
		}
		count := &fuse{}
		want, err := l.read(t, count, image)
		if err != nil {
			t.Fatalf("%v: %v", l, err)
		}
		for _, n := range numbers(count.calls) {
			for _, f := range []*fuse{{err: syscall.EIO}, {err: syscall.EIO, short: true}, {err: io.EOF, short: true}} {
				f.fail = n
				got, err := l.read(t, f, image)
				switch {
				case f.err == io.EOF: // what follows from that is known to each format
				case err == nil && string(got) != string(want):
					t.Errorf("%v: read %d of %d failed, and the copy succeeds with other content", l, n, count.calls)
				case err == nil && !f.size:
					t.Errorf("%v: read %d of %d failed, and the copy succeeds", l, n, count.calls)
				case err != nil && !errors.Is(err, f.err):
					t.Errorf("%v: read %d of %d failed with %v, and the copy with %v", l, n, count.calls, f.err, err)
				}
				faults++
			}
		}
	}
	t.Logf("%d faults in readers", faults)
}

// settle fails the test if goroutines are left.
func settle(t *testing.T, before int) {
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error(fmt.Sprint(runtime.NumGoroutine()-before, " goroutines are left"))
}
