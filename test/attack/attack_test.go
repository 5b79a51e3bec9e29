//go:build linux && amd64

package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"instar/host/sandbox"
	"instar/host/sandbox/jail"
	"instar/host/sandbox/kvm"
	"instar/job"
)

// The test binary is its own worker.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case kvm.VMMName:
		os.Exit(kvm.Main())
	case jail.Name:
		if err := jail.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(serve())
	case kvm.GuestName:
		os.Exit(serve())
	}
	if err := surround(os.Getenv("INSTAR_TEST_DENY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// A worker must not inherit what this process was left with.
	if err := unix.Dup3(2, 99, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience bounds an attack on the slowest of machines: an emulated one that has
// to share its processor.
const patience = 5 * time.Minute

// secret is in this process's memory, and must not change.
var secret uint64 = 0x5ec_2e75_5ec_2e75

// start starts a worker behind a wall. Where there is no KVM the test is skipped,
// unless the environment says that there must be.
func start(t *testing.T, wall sandbox.Wall, o sandbox.Options) *sandbox.Worker {
	t.Helper()
	o.Wall = wall
	w, err := sandbox.Start(context.Background(), o)
	var u *sandbox.UnavailableError
	if wall == sandbox.KVM && errors.As(err, &u) && os.Getenv("INSTAR_TEST_NEED_KVM") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

var walls = []sandbox.Wall{sandbox.Jail, sandbox.KVM}

// TestAttacks has a worker try everything. Each attack has a worker of its own
// and an outcome that is asserted; afterwards everything is as it was.
func TestAttacks(t *testing.T) {
	for _, wall := range walls {
		t.Run(string(wall), func(t *testing.T) {
			for _, a := range attacks {
				t.Run(a.name, func(t *testing.T) {
					t.Parallel()
					testAttack(t, wall, a)
				})
			}
		})
	}
	if secret != 0x5ec_2e75_5ec_2e75 {
		t.Errorf("a worker changed the host's memory to %#x", secret)
	}
}

func testAttack(t *testing.T, wall sandbox.Wall, a attack) {
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	for _, f := range []string{"in", "bystander"} {
		if err := os.WriteFile(name(f), []byte(inputText), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, err := os.Open(name("in"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(name("out"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()

	w := start(t, wall, sandbox.Options{Memory: 256 << 20, Timeout: patience})
	id, err := w.Grant(in, job.Read, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Grant(out, job.Write, ceiling); err != nil {
		t.Fatal(err)
	}
	_, err = w.Inspect(context.Background(), job.Inspect{
		ID: id, Format: a.name, Snapshot: fmt.Sprint(os.Getpid(), " ", secretAddress(&secret)),
	})
	if got := outcomeOf(err); !slices.Contains(a.want, got) && !slices.Contains(otherwise[a.name], got) {
		t.Errorf("it came out as %q, want one of %q: %v", got, a.want, err)
	}
	if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("%q is not fit to be shown", err)
	}

	for _, f := range []string{"in", "bystander"} {
		if got, err := os.ReadFile(name(f)); err != nil || !bytes.Equal(got, []byte(inputText)) {
			t.Errorf("%s is %q now, %v", f, got, err)
		}
	}
	if info, err := os.Stat(name("out")); err != nil || info.Size() > ceiling {
		t.Errorf("the output is %d bytes long, %v", info.Size(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// outcomeOf says in a word how an attack came out.
func outcomeOf(err error) string {
	var answer *job.Error
	var crash *sandbox.CrashError
	switch {
	case errors.As(err, &answer):
		return answer.Message
	case !errors.As(err, &crash):
		return fmt.Sprint(err)
	}
	for outcome, words := range map[string]string{
		killed:  `^made a system call|^was ended: it made`,
		crashed: `^crashed: `,
		starved: `^needs more memory than its limit of 256 MiB \(see --memory\)$`,
		crowded: `^needs more threads`,
		left:    `^exited with code \d+ before it had answered$|^exited before it had answered$`,
	} {
		if regexp.MustCompile(words).MatchString(crash.Why) {
			return outcome
		}
	}
	return crash.Why
}
