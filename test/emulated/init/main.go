// Command init is the first process of an emulated machine: it loads the
// kernel's KVM, carries out the plan, and switches the machine off.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"instar/test/emulated/plan"
)

func main() {
	if err := run(); err != nil {
		say(plan.Verdict{Name: "init", Error: err.Error()})
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	for _, m := range []struct{ kind, path string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"},
	} {
		if err := errors.Join(os.MkdirAll(m.path, 0o755), unix.Mount(m.kind, m.path, m.kind, 0, "")); err != nil {
			return fmt.Errorf("mount %s: %w", m.path, err)
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	b, err := os.ReadFile(plan.Path)
	if err != nil {
		return err
	}
	var steps []plan.Step
	if err := json.Unmarshal(b, &steps); err != nil {
		return err
	}
	for _, s := range steps {
		say(do(s))
	}
	return nil
}

// loadModules loads what lies in /modules, in the order of the names.
func loadModules() error {
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, m := range modules {
		f, err := os.Open(m)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return fmt.Errorf("KVM did not come up: %w", err)
	}
	return nil
}

// maxOutput bounds what is kept of a command's output: the end of it.
const maxOutput = 256 << 10

func do(s plan.Step) plan.Verdict {
	v := plan.Verdict{Name: s.Name}
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Dir = "/tmp"
	cmd.Env = append(os.Environ(), s.Env...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	v.Seconds = time.Since(start).Seconds()
	v.Output = string(out[max(0, len(out)-maxOutput):])
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		v.Code = exit.ExitCode()
	case err != nil:
		v.Error = err.Error()
	case s.File != "":
		v.Error = checkDigest(s.File, s.SHA256)
	}
	return v
}

// checkDigest says what is wrong with a file that should have a digest; empty
// is nothing.
func checkDigest(name, want string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != want {
		return fmt.Sprintf("%s (%d bytes) has the digest %s, not %s", name, len(b), got, want)
	}
	return ""
}

// say writes a verdict to the console.
func say(v plan.Verdict) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(`{"name":"init","error":"a verdict that cannot be said"}`)
	}
	fmt.Printf("\n%s%s\n", plan.Prefix, b)
}
