//go:build linux && amd64

package kvm_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"instar/host/sandbox/kvm"
	"instar/job"
)

var program string

// TestMain builds the guest, unless the environment names one: the tests also
// run where there is no compiler.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if program = os.Getenv("INSTAR_TEST_GUEST"); program != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "instar-kvm-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "guest")
		cmd := exec.Command("go", "build", "-o", program, "./testdata/guest")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the guest: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// A running is a VMM with a guest in it.
type running struct {
	t       testing.TB
	cmd     *exec.Cmd
	conn    *job.Conn
	control int
	report  *os.File
	stderr  bytes.Buffer
}

func requireKVM(t testing.TB) {
	t.Helper()
	if err := kvm.Check(program); err != nil {
		if os.Getenv("INSTAR_TEST_GUEST") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func startGuest(t testing.TB, c kvm.Config) *running {
	t.Helper()
	requireKVM(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := kvm.Command(program, c)
	if err != nil {
		t.Fatal(err)
	}
	v := &running{t: t, cmd: cmd, conn: job.NewConn(pair[0]), control: pair[0], report: r}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	cmd.ExtraFiles = []*os.File{theirs, w}
	cmd.Stderr = &v.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	w.Close()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); unix.Close(v.control); r.Close() })
	return v
}

// grant hands f to the guest.
func (v *running) grant(f *os.File, g *job.Grant) {
	v.t.Helper()
	if err := v.conn.Send(&job.Message{Grant: g}, int(f.Fd())); err != nil {
		v.t.Fatal(err)
	}
}

// receive returns the next message, nil at the end.
func (v *running) receive() *job.Message {
	v.t.Helper()
	m, fd, err := v.conn.Receive()
	if fd >= 0 {
		v.t.Errorf("the guest passed a descriptor out")
		unix.Close(fd)
	}
	if err != nil {
		return nil
	}
	return m
}

func (v *running) ask(script string) string {
	v.t.Helper()
	if err := v.conn.Send(&job.Message{Inspect: &job.Inspect{Format: script}}, -1); err != nil {
		v.t.Fatal(err)
	}
	m := v.receive()
	if m == nil || m.Error == nil {
		return ""
	}
	return m.Error.Message
}

// end reads the report of a VMM that ends by itself.
func (v *running) end() kvm.Report {
	v.t.Helper()
	unix.Shutdown(v.control, unix.SHUT_RDWR)
	v.report.SetReadDeadline(time.Now().Add(time.Minute))
	r, err := kvm.ReadReport(v.report)
	waitErr := v.cmd.Wait()
	if err != nil {
		v.t.Fatalf("%v; the VMM ended: %v\n%s", err, waitErr, v.stderr.String())
	}
	if v.stderr.Len() > 0 {
		v.t.Errorf("the VMM wrote %q", v.stderr.String())
	}
	return r
}

func TestHello(t *testing.T) {
	v := startGuest(t, kvm.Config{})
	if m := v.receive(); m == nil || m.Hello == nil {
		r := v.end()
		t.Fatalf("got %+v instead of hello; %+v\n%s", m, r, r.Log)
	}
	if got := v.ask("hello"); got != "hello" {
		t.Errorf("the guest said %q", got)
	}
	r := v.end()
	if r.Outcome != kvm.Exited || r.Code != 0 || r.Err() != nil {
		t.Errorf("report %+v", r)
	}
}
