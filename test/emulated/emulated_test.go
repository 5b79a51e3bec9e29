package emulated

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"instar/internal/testutil"
	"instar/test/emulated/plan"
)

// machineTimeout bounds the life of the emulated machine.
const machineTimeout = 15 * time.Minute

// TestEmulatedAMD runs what there is to run behind KVM on an emulated AMD
// processor.
func TestEmulatedAMD(t *testing.T) {
	if os.Getenv("INSTAR_EMULATED") == "" {
		t.Skip("it takes minutes: INSTAR_EMULATED=1 (make emulated)")
	}
	qemu := testutil.Require(t, "qemu-system-x86_64", "qemu-system-x86")
	k, err := debianKernel(cache(t))
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	steps := []plan.Step{
		{
			Name: "dd",
			Args: []string{"/instar", "dd", "--sandbox=kvm", "-v", "-f", "qcow2", "-O", "raw", "if=/disk.qcow2", "of=disk.raw"},
			File: "/tmp/disk.raw", SHA256: digest(t, "disk.raw"),
		},
		{
			Name: "microVM",
			Args: []string{"/kvm.test", "-test.v", "-test.run=" + microVMTests},
			Env:  []string{"INSTAR_TEST_GUEST=/guest"},
		},
		{
			Name: "hostile worker",
			Args: []string{"/attack.test", "-test.v", "-test.run=^TestAttacks$/^kvm$"},
			Env:  []string{"INSTAR_TEST_NEED_KVM=1"},
		},
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "initrd")
	if err := os.WriteFile(disk, initialDisk(t, dir, k, steps), 0o600); err != nil {
		t.Fatal(err)
	}
	verdicts := boot(t, qemu, k.image, disk)
	for _, s := range steps {
		t.Run(s.Name, func(t *testing.T) {
			v, ok := verdicts[s.Name]
			switch {
			case !ok:
				t.Fatal("the machine did not come to it")
			case v.Error != "" || v.Code != 0:
				t.Errorf("exit code %d %s after %.0f s\n%s", v.Code, v.Error, v.Seconds, v.Output)
			default:
				t.Logf("%.1f s\n%s", v.Seconds, v.Output)
			}
		})
	}
	if v, ok := verdicts["init"]; ok {
		t.Error(v.Error)
	}
}

// microVMTests are the tests of the microVM that need one.
const microVMTests = "^(TestHello|TestAttacks|TestHypercall|TestForbiddenCalls|TestWildCalls|TestHangs|TestGiveBack|TestThreads)$"

// digest returns what testdata/disk.sha256 says about a file.
func digest(t *testing.T, name string) string {
	t.Helper()
	list, err := os.ReadFile("../../testdata/disk.sha256")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if sum, file, _ := strings.Cut(strings.TrimSpace(line), "  "); file == name {
			return sum
		}
	}
	t.Fatalf("no digest of %s", name)
	return ""
}

// cache returns the folder in which downloads outlive the test.
func cache(t *testing.T) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	folder := filepath.Join(base, "instar-emulated")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// initialDisk returns the machine's file system.
func initialDisk(t *testing.T, dir string, k *kernel, steps []plan.Step) []byte {
	t.Helper()
	var a archive
	a.add("modules", directory, nil)
	for i, m := range k.modules {
		if err := a.addFile(fmt.Sprintf("modules/%d-%s", i, filepath.Base(m)), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.addFile("disk.qcow2", "../../testdata/disk.qcow2"); err != nil {
		t.Fatal(err)
	}
	for name, build := range map[string][]string{
		"init":        {"build", "instar/test/emulated/init"},
		"instar":      {"build", "instar/cmd/instar"},
		"guest":       {"build", "instar/host/sandbox/kvm/testdata/guest"},
		"kvm.test":    {"test", "-c", "instar/host/sandbox/kvm"},
		"attack.test": {"test", "-c", "instar/test/attack"},
	} {
		path := filepath.Join(dir, name)
		cmd := exec.Command("go", append([]string{build[0], "-o", path}, build[1:]...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(build, " "), err, out)
		}
		if err := a.addFile(name, path); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	a.add(strings.TrimPrefix(plan.Path, "/"), executable, b)
	return a.bytes()
}

// boot runs the machine until it switches itself off, and returns what its
// first process had to say.
func boot(t *testing.T, qemu, image, disk string) map[string]plan.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), machineTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu,
		// One processor: with several, each emulated by a thread of its own, QEMU
		// now and then loses a nested translation, and KVM and its guests crash.
		"-machine", "q35,accel=tcg", "-cpu", "EPYC,+svm,+npt", "-smp", "1", "-m", "3072",
		"-kernel", image, "-initrd", disk, "-append", "console=ttyS0 quiet panic=-1",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio")
	console, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	verdicts, rest, err := listen(console)
	if err = errors.Join(err, cmd.Wait()); err != nil || len(verdicts) == 0 {
		t.Fatalf("the machine ended after %v: %v\n%s\n%s", time.Since(start).Round(time.Second), err, stderr.String(), rest)
	}
	t.Logf("from start to power-off: %v", time.Since(start).Round(time.Second))
	return verdicts
}

// listen returns the verdicts on a console, and the rest of what it shows.
func listen(console io.Reader) (map[string]plan.Verdict, string, error) {
	verdicts := map[string]plan.Verdict{}
	var rest strings.Builder
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		text, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), plan.Prefix)
		if !ok {
			fmt.Fprintln(&rest, lines.Text())
			continue
		}
		var v plan.Verdict
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, rest.String(), fmt.Errorf("verdict %q: %w", text, err)
		}
		verdicts[v.Name] = v
	}
	return verdicts, rest.String(), lines.Err()
}
