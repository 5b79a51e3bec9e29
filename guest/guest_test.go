package guest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"instar/dd"
	"instar/disk"
	"instar/disk/all"
	"instar/guest"
	"instar/internal/testutil"
	"instar/job"
)

// A host is the other end of a guest's control channel.
type host struct {
	*testing.T
	conn *job.Conn
	fd   int
	next int
}

// serve starts a guest that knows the formats of the program, and others.
func serve(t *testing.T, others ...disk.Format) *host {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	formats := all.Registry()
	if len(others) > 0 {
		formats = disk.NewRegistry(others...)
	}
	done := make(chan error, 1)
	go func() { done <- guest.Serve(job.NewConn(fds[1]), formats) }()
	h := &host{T: t, conn: job.NewConn(fds[0]), fd: fds[0]}
	t.Cleanup(func() {
		unix.Close(fds[0])
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		unix.Close(fds[1])
	})
	if m := h.receive(); m.Hello == nil {
		t.Fatalf("the first message is %+v", m)
	}
	return h
}

func (h *host) send(m *job.Message, fd int) {
	h.Helper()
	if err := h.conn.Send(m, fd); err != nil {
		h.Fatal(err)
	}
}

func (h *host) receive() *job.Message {
	h.Helper()
	m, _, err := h.conn.Receive()
	if err != nil {
		h.Fatal(err)
	}
	return m
}

// ask sends a job and returns its answer and the progress that came before.
func (h *host) ask(m *job.Message) (*job.Message, []job.Progress) {
	h.Helper()
	h.send(m, -1)
	var progress []job.Progress
	for {
		m := h.receive()
		if m.Progress == nil {
			return m, progress
		}
		progress = append(progress, *m.Progress)
	}
}

// grant opens a file, hands it over and returns its number.
func (h *host) grant(name string, access job.Access) int {
	h.Helper()
	flags := os.O_RDONLY
	if access == job.Write {
		flags = os.O_WRONLY | os.O_CREATE
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		h.Fatal(err)
	}
	defer f.Close()
	h.next++
	h.send(&job.Message{Grant: &job.Grant{ID: h.next, Access: access}}, int(f.Fd()))
	return h.next
}

func (h *host) inspect(j job.Inspect) (*job.Inspection, *job.Error) {
	h.Helper()
	m, _ := h.ask(&job.Message{Inspect: &j})
	if (m.Inspection == nil) == (m.Error == nil) {
		h.Fatalf("an inspection is answered by %+v", m)
	}
	return m.Inspection, m.Error
}

func (h *host) execute(x job.Execution) (*job.Result, *job.Error) {
	h.Helper()
	m, _ := h.ask(&job.Message{Execute: &x})
	if (m.Result == nil) == (m.Error == nil) {
		h.Fatalf("a copy is answered by %+v", m)
	}
	return m.Result, m.Error
}

// file makes a file of the test's own.
func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// content returns n bytes that are not to be guessed.
func content(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func layers(l ...job.Layer) []job.Input { return []job.Input{{Layers: l}} }

func TestInspectRaw(t *testing.T) {
	h := serve(t)
	got, err := h.inspect(job.Inspect{ID: h.grant(file(t, "odd", make([]byte, 1000)), job.Read)})
	if err != nil || got.Format != "raw" || got.VirtualSize != 1024 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestCopyRaw(t *testing.T) {
	h := serve(t)
	data := content(3<<20 + 1000)
	out := filepath.Join(t.TempDir(), "out")
	x := job.Execution{
		Inputs: layers(job.Layer{ID: h.grant(file(t, "in", data), job.Read), Format: "raw"}),
		Output: job.Output{ID: h.grant(out, job.Write), Format: job.Raw},
		Sync:   true,
	}
	result, err := h.execute(x)
	if err != nil {
		t.Fatal(err)
	}
	if n := result.Copied + result.Offloaded + result.Zeroed; n != 3<<20+1024 {
		t.Errorf("the result adds up to %d: %+v", n, *result)
	}
	if want := append(data, make([]byte, 24)...); !bytes.Equal(read(t, out), want) {
		t.Error("the output is not the input, rounded up")
	}
}

func TestCopyWindowAndProgress(t *testing.T) {
	h := serve(t)
	data := content(8 << 20)
	out := filepath.Join(t.TempDir(), "out")
	window := dd.ComputeWindow(int64(len(data)), 1000, nil, 77)
	answer, progress := h.ask(&job.Message{Execute: &job.Execution{
		Inputs: layers(job.Layer{ID: h.grant(file(t, "in", data), job.Read), Format: "raw"}),
		Output: job.Output{ID: h.grant(out, job.Write), Format: job.Raw},
		Window: &window,
	}})
	if answer.Result == nil {
		t.Fatalf("got %+v", answer.Error)
	}
	if got := read(t, out); !bytes.Equal(got[:len(data)-77000], data[77000:]) || int64(len(got)) != window.OutSize {
		t.Error("the output is not the window")
	}
	var last int64 = -1
	for _, p := range progress {
		if p.Done < last || p.Done > p.Total {
			t.Errorf("progress %+v after %d", p, last)
		}
		last = p.Done
	}
	if len(progress) == 0 || progress[len(progress)-1].Done != progress[0].Total {
		t.Errorf("progress ends before the end: %+v", progress)
	}
}

func TestCopyQcow2OverRaw(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	data := content(1 << 20)
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	if err := os.WriteFile(base, data, 0o600); err != nil {
		t.Fatal(err)
	}
	testutil.Run(t, qemuImg, "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", top, "2M")
	h := serve(t)
	id := h.grant(top, job.Read)
	got, err := h.inspect(job.Inspect{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.References) != 1 || got.References[0].Kind != job.BackingFile || !slices.Equal(got.References[0].Names, []string{"base"}) ||
		got.References[0].Format != "raw" || got.ClusterSize != 65536 {
		t.Errorf("got %+v", got)
	}
	out := filepath.Join(dir, "out")
	if _, err := h.execute(job.Execution{
		Inputs: layers(
			job.Layer{ID: id, Format: got.Format, Files: []int{-1}},
			job.Layer{ID: h.grant(base, job.Read), Format: "raw"},
		),
		Output: job.Output{ID: h.grant(out, job.Write), Format: job.Raw},
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, out), append(data, make([]byte, 1<<20)...)) {
		t.Error("the output is not what the chain has")
	}
}

// A passphrase opens an image for one job, and is wiped before bytes are read.
func TestPassphrase(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	data := content(1 << 20)
	in, plain, out := filepath.Join(dir, "in"), filepath.Join(dir, "plain"), filepath.Join(dir, "out")
	if err := os.WriteFile(plain, data, 0o600); err != nil {
		t.Fatal(err)
	}
	testutil.Run(t, qemuImg, "convert", "--object", "secret,id=s,data=open sesame", "-O", "luks", "-o", "key-secret=s,iter-time=100", plain, in)
	h := serve(t)
	id := h.grant(in, job.Read)
	without, err := h.inspect(job.Inspect{ID: id})
	if err != nil || !without.Encrypted || without.Refused == "" {
		t.Fatalf("without a passphrase: %+v, %v", without, err)
	}
	if _, err := h.inspect(job.Inspect{ID: id, Secret: []byte("wrong")}); err == nil || err.Kind != job.ErrSecret {
		t.Errorf("a wrong passphrase: %+v", err)
	}
	output := job.Output{ID: h.grant(out, job.Write), Format: job.Raw}
	if _, err := h.execute(job.Execution{Inputs: layers(job.Layer{ID: id, Format: "luks"}), Output: output}); err == nil {
		t.Error("encrypted content was read without a passphrase")
	}
	if _, err := h.execute(job.Execution{
		Inputs: layers(job.Layer{ID: id, Format: "luks", Secret: []byte("open sesame")}), Output: output,
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, out), data) {
		t.Error("the output is not what was encrypted")
	}
}

func TestGrantsAreChecked(t *testing.T) {
	h := serve(t)
	in := h.grant(file(t, "in", content(4096)), job.Read)
	out := h.grant(filepath.Join(t.TempDir(), "out"), job.Write)
	raw := job.Layer{ID: in, Format: "raw"}
	for what, m := range map[string]*job.Message{
		"inspect of nothing":      {Inspect: &job.Inspect{ID: 99}},
		"inspect of the output":   {Inspect: &job.Inspect{ID: out}},
		"an extent of nothing":    {Inspect: &job.Inspect{ID: in, Files: []int{99}}},
		"an extent of the output": {Inspect: &job.Inspect{ID: in, Files: []int{out}}},
		"no input":                {Execute: &job.Execution{Output: job.Output{ID: out, Format: job.Raw}}},
		"an input without layers": {Execute: &job.Execution{Inputs: layers(), Output: job.Output{ID: out, Format: job.Raw}}},
		"a layer of nothing":      {Execute: &job.Execution{Inputs: layers(job.Layer{ID: -1, Format: "raw"}), Output: job.Output{ID: out, Format: job.Raw}}},
		"the output as a layer":   {Execute: &job.Execution{Inputs: layers(job.Layer{ID: out, Format: "raw"}), Output: job.Output{ID: out, Format: job.Raw}}},
		"output to nothing":       {Execute: &job.Execution{Inputs: layers(raw), Output: job.Output{ID: 99, Format: job.Raw}}},
		"output to the input":     {Execute: &job.Execution{Inputs: layers(raw), Output: job.Output{ID: in, Format: job.Raw}}},
		"an output file of nothing": {Execute: &job.Execution{
			Inputs: layers(raw), Output: job.Output{ID: out, Format: job.Raw, Files: []job.OutputFile{{ID: 99}}},
		}},
		"an output file that is the input": {Execute: &job.Execution{
			Inputs: layers(raw), Output: job.Output{ID: out, Format: job.Raw, Files: []job.OutputFile{{ID: in}}},
		}},
		"a message of the guest's": {Result: &job.Result{}},
	} {
		answer, _ := h.ask(m)
		if answer.Error == nil || answer.Error.Kind != job.ErrProtocol || answer.Error.Offset != -1 {
			t.Errorf("%s: got %+v, error %+v", what, answer, answer.Error)
		}
	}
	if got, err := h.inspect(job.Inspect{ID: in}); err != nil || got.VirtualSize != 4096 {
		t.Errorf("the next job: %+v, %v", got, err)
	}
}

func TestRevokedIsGone(t *testing.T) {
	h := serve(t)
	id := h.grant(file(t, "in", nil), job.Read)
	h.send(&job.Message{Revoke: &job.Revoke{ID: id}}, -1)
	h.send(&job.Message{Revoke: &job.Revoke{ID: id}}, -1) // and once more
	if _, err := h.inspect(job.Inspect{ID: id}); err == nil || err.Kind != job.ErrProtocol {
		t.Errorf("got %+v", err)
	}
}

// A number that is granted again stands for the new file.
func TestGrantedAgain(t *testing.T) {
	h := serve(t)
	h.grant(file(t, "one", make([]byte, 512)), job.Read)
	h.next = 0
	id := h.grant(file(t, "two", make([]byte, 1024)), job.Read)
	if got, err := h.inspect(job.Inspect{ID: id}); err != nil || got.VirtualSize != 1024 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// fake is a format whose images are as wrong as the test wants.
func fake(name string, open func(f disk.File, o disk.OpenOptions) (disk.Image, error)) disk.Format {
	return disk.Format{Name: name, Probe: func([]byte) int { return 1 }, Open: open}
}

// A fakeImage is one whose content fails to be read at half of its size.
type fakeImage struct {
	size int64
	err  error
}

func (i fakeImage) Size() int64 { return i.size }
func (i fakeImage) Info() *disk.Info {
	return &disk.Info{Format: "fake", VirtualSize: i.size}
}

func (i fakeImage) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > i.size/2 {
		return 0, i.err
	}
	return len(p), nil
}

func (i fakeImage) Extent(off, limit int64) (disk.Extent, error) {
	if off < i.size/2 {
		return disk.Extent{Start: off, Length: min(limit, i.size/2-off), Kind: disk.Encoded, Layer: i}, nil
	}
	return disk.Extent{Start: off, Length: limit, Kind: disk.Encoded, Layer: i}, nil
}

func TestPanicIsAnAnswer(t *testing.T) {
	first := true
	h := serve(t, fake("fake", func(disk.File, disk.OpenOptions) (disk.Image, error) {
		if first {
			first = false
			panic("index out of range")
		}
		return fakeImage{size: 512}, nil
	}))
	id := h.grant(file(t, "in", nil), job.Read)
	if _, err := h.inspect(job.Inspect{ID: id}); err == nil || !strings.Contains(err.Message, "index out of range") {
		t.Errorf("got %+v", err)
	}
	if got, err := h.inspect(job.Inspect{ID: id}); err != nil || got.VirtualSize != 512 {
		t.Errorf("the next job: %+v, %v", got, err)
	}
}

func TestErrorsOfOpening(t *testing.T) {
	var fails atomic.Pointer[error]
	h := serve(t, fake("fake", func(disk.File, disk.OpenOptions) (disk.Image, error) { return nil, *fails.Load() }))
	id := h.grant(file(t, "in", nil), job.Read)
	for _, test := range []struct {
		err   error
		kind  job.ErrorKind
		errno unix.Errno
	}{
		{disk.Corruptf("fake", "L1 table is too large"), job.ErrOpen, 0},
		{disk.Unsupportedf("fake", "version 9"), job.ErrUnsupported, 0},
		{&disk.PassphraseError{Format: "fake", Msg: "no"}, job.ErrSecret, 0},
		{fmt.Errorf("header: %w", disk.Corruptf("fake", "magic")), job.ErrOpen, 0},
		{fmt.Errorf("header: %w", unix.EIO), job.ErrOpen, unix.EIO},
		{errors.New("something"), job.ErrOpen, 0},
	} {
		fails.Store(&test.err)
		_, err := h.inspect(job.Inspect{ID: id})
		want := job.Error{Kind: test.kind, Message: test.err.Error(), Errno: int(test.errno), Offset: -1}
		if err == nil || *err != want {
			t.Errorf("%v: got %+v, want %+v", test.err, err, want)
		}
	}
	if _, err := h.inspect(job.Inspect{ID: id, Format: "bogus"}); err == nil || err.Kind != job.ErrFormat || err.Message != "Unknown driver 'bogus'" {
		t.Errorf("an unknown format: %+v", err)
	}
}

func TestErrorsOfCopying(t *testing.T) {
	raw, err := all.Registry().Lookup("raw")
	if err != nil {
		t.Fatal(err)
	}
	var image atomic.Pointer[fakeImage]
	image.Store(&fakeImage{size: 8 << 20, err: unix.EIO})
	h := serve(t, fake("fake", func(disk.File, disk.OpenOptions) (disk.Image, error) { return *image.Load(), nil }), raw)
	in := h.grant(file(t, "in", nil), job.Read)
	dir := t.TempDir()
	execution := func(out string) job.Execution {
		return job.Execution{
			Inputs: layers(job.Layer{ID: in, Format: "fake"}),
			Output: job.Output{ID: h.grant(out, job.Write), Format: job.Raw},
		}
	}
	_, e := h.execute(execution(filepath.Join(dir, "out")))
	if e == nil || e.Kind != job.ErrRead || e.Errno != int(unix.EIO) || e.Offset != 4<<20 {
		t.Errorf("reading: %+v", e)
	}
	image.Store(&fakeImage{size: 8 << 20, err: disk.Corruptf("fake", "offset beyond the end")})
	_, e = h.execute(execution(filepath.Join(dir, "out")))
	if e == nil || e.Kind != job.ErrRead || e.Errno != 0 || e.Offset != 4<<20 || e.Message != "offset beyond the end" {
		t.Errorf("reading what is damaged: %+v", e)
	}
	image.Store(&fakeImage{size: 8 << 20})
	x := execution("/dev/full")
	x.Output.Existing = true
	_, e = h.execute(x)
	if e == nil || e.Kind != job.ErrWrite || e.Errno != int(unix.ENOSPC) || e.Offset < 0 {
		t.Errorf("writing: %+v", e)
	}
	_, e = h.execute(execution("/dev/full")) // which has no length to be set
	if e == nil || e.Kind != job.ErrCreate || e.Errno != int(unix.EINVAL) {
		t.Errorf("creating: %+v", e)
	}
	x = execution(filepath.Join(dir, "out"))
	x.Output.Format = "fake"
	if _, e = h.execute(x); e == nil || !strings.Contains(e.Message, "are not written") {
		t.Errorf("a format that is not written: %+v", e)
	}
}

// An empty copy into a device has nothing to size and nothing to sync.
func TestNothingIntoDevice(t *testing.T) {
	h := serve(t)
	if _, err := h.execute(job.Execution{
		Inputs: layers(job.Layer{ID: h.grant(file(t, "in", nil), job.Read), Format: "raw"}),
		Output: job.Output{ID: h.grant("/dev/null", job.Write), Format: job.Raw, Existing: true},
		Sync:   true,
	}); err != nil {
		t.Error(err)
	}
}

// What an image says of itself arrives as it was said.
func TestDescription(t *testing.T) {
	count := int64(7)
	info := &disk.Info{
		Format: "fake", VirtualSize: 1 << 30, ClusterSize: 4096, Encrypted: true, Compressed: true, Dirty: true,
		Refused: errors.New("marked as damaged"), Identity: "id",
		References: []disk.Reference{{Kind: disk.DataFile, Names: []string{"a\xff", "b"}, Format: "raw", Identity: "x"}},
		Snapshots:  []disk.Snapshot{{ID: "1", Name: "s", ICount: &count, VMStateSize: 2, Seconds: 3, Nanoseconds: 4, ClockNanos: 5, DiskSize: 6}},
		Details: []disk.Detail{
			{Key: "text", Value: "x"},
			{Key: "flag", Value: true},
			{Key: "number", Value: int64(-1)},
			{Key: "object", Value: []disk.Detail{{Key: "in", Value: "y"}}},
			{Key: "list", Value: []any{"z", int64(2)}},
		},
	}
	h := serve(t, fake("fake", func(disk.File, disk.OpenOptions) (disk.Image, error) { return described{info}, nil }))
	got, err := h.inspect(job.Inspect{ID: h.grant(file(t, "in", nil), job.Read)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Format != "fake" || got.VirtualSize != 1<<30 || got.ClusterSize != 4096 || !got.Encrypted || !got.Compressed || !got.Dirty ||
		got.Refused != "marked as damaged" || got.Identity != "id" {
		t.Errorf("got %+v", got)
	}
	if r := got.References[0]; r.Kind != job.DataFile || !slices.Equal(r.Names, []string{"a\xff", "b"}) || r.Format != "raw" || r.Identity != "x" {
		t.Errorf("reference %+v", r)
	}
	if s := got.Snapshots[0]; *s.ICount != 7 || s != (job.Snapshot{ID: "1", Name: "s", ICount: s.ICount, VMStateSize: 2, Seconds: 3, Nanoseconds: 4, ClockNanos: 5, DiskSize: 6}) {
		t.Errorf("snapshot %+v", s)
	}
	d := got.Details
	if *d[0].Text != "x" || !*d[1].Flag || *d[2].Number != -1 || *d[3].Object[0].Text != "y" || *d[4].List[0].Text != "z" || *d[4].List[1].Number != 2 {
		t.Errorf("details %+v", d)
	}
}

// A described image is one that has nothing but a description.
type described struct{ info *disk.Info }

func (d described) Info() *disk.Info                         { return d.info }
func (d described) Size() int64                              { return d.info.VirtualSize }
func (d described) ReadAt([]byte, int64) (int, error)        { return 0, io.EOF }
func (d described) Extent(int64, int64) (disk.Extent, error) { return disk.Extent{}, io.EOF }

// What is no message ends the guest, without an answer.
// A shelf is an image with snapshots, of which one is damaged.
type shelf struct {
	disk.Image
	info disk.Info
}

func (s *shelf) Info() *disk.Info { return &s.info }

func (s *shelf) Snapshot(index int) (disk.Image, error) {
	if index == 600 {
		return nil, disk.Corruptf("shelf", "torn")
	}
	return s.Image, nil
}

// TestSnapshots: those that one message has no room for come before the others,
// and all of them are checked without the image being opened again.
func TestSnapshots(t *testing.T) {
	opened := 0
	formats := all.Registry()
	h := serve(t, disk.Format{Name: "shelf", Open: func(f disk.File, o disk.OpenOptions) (disk.Image, error) {
		opened++
		raw, err := formats.Lookup("raw")
		if err != nil {
			return nil, err
		}
		s := &shelf{info: disk.Info{Format: "shelf", VirtualSize: 512}}
		for k := range 700 {
			s.info.Snapshots = append(s.info.Snapshots, disk.Snapshot{ID: fmt.Sprint(k)})
		}
		s.Image, err = raw.Open(f, o)
		return s, err
	}})
	id := h.grant(file(t, "shelf", content(512)), job.Read)
	m, _ := h.ask(&job.Message{Inspect: &job.Inspect{ID: id, Format: "shelf", Verify: true}})
	var list []job.Snapshot
	for ; m.Inspection == nil; m = h.receive() {
		if len(m.Snapshots) == 0 {
			t.Fatalf("answered by %+v", m)
		}
		list = append(list, m.Snapshots...)
	}
	list = append(list, m.Inspection.Snapshots...)
	for k, s := range list {
		if s.ID != fmt.Sprint(k) {
			t.Fatalf("snapshot %d is %s", k, s.ID)
		}
	}
	if want := `snapshot "600": torn`; len(list) != 700 || m.Inspection.Fault != want || opened != 1 {
		t.Errorf("%d snapshots, fault %q, opened %d times; want %q", len(list), m.Inspection.Fault, opened, want)
	}
}

func TestGarbageEndsTheGuest(t *testing.T) {
	for what, frame := range map[string]string{
		"no JSON":       "\x04\x00\x00\x00xxxx",
		"too long":      "\xff\xff\xff\xff",
		"unknown field": "\x0b\x00\x00\x00{\"bogus\":1}",
		"cut short":     "\x10\x00\x00\x00{",
	} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fds[0], []byte(frame)); err != nil {
			t.Fatal(err)
		}
		unix.Shutdown(fds[0], unix.SHUT_WR)
		if err := guest.Serve(job.NewConn(fds[1]), all.Registry()); !errors.Is(err, job.ErrMessage) {
			t.Errorf("%s: got %v", what, err)
		}
		unix.Close(fds[0])
		unix.Close(fds[1])
	}
}
