package differential

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/program"
)

// On a block device, which may be shorter than the disk, both programs say the
// same, and an image reads back as what went into it.
func TestDevicesAreWrittenAsByQemuImg(t *testing.T) {
	w := newTwo(t, nil)
	backing := filepath.Join(t.TempDir(), "device")
	stale := bytes.Repeat([]byte{0xff}, 4<<20)
	if err := os.WriteFile(backing, stale, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", backing).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device can be had here: %s", bytes.TrimSpace(out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	for _, line := range []string{
		"create -f qcow2 DEVICE 1G",
		"create -f raw DEVICE 1M",
		"create -f raw DEVICE 1G",
		"create -f qcow2 -o preallocation=metadata DEVICE 1M",
		"create -f qcow2 -o preallocation=full DEVICE 1M",
		"create -f raw -o preallocation=falloc DEVICE 1M",
		"create --object secret,id=s,data=x -f luks -o key-secret=s,iter-time=10,preallocation=full DEVICE 1M",
		"convert -n -O raw text.raw DEVICE",
		"convert -O raw text.raw DEVICE",
		"convert -n -t none -S 0 -O raw chain5.qcow2 DEVICE",
		"convert -O qcow2 text.raw DEVICE",
		"convert -t none -O qcow2 chain5.qcow2 DEVICE",
		"convert -n -O raw big.qcow2 DEVICE",
		"dd if=text.raw of=DEVICE",
		"dd -O qcow2 if=text.raw of=DEVICE",
	} {
		args := strings.Fields(strings.ReplaceAll(line, "DEVICE", device))
		if err := os.WriteFile(device, stale, 0); err != nil {
			t.Fatal(err)
		}
		theirs := program.Run(t, w.theirs, nil, w.qemuImg, args...)
		want, err := os.ReadFile(device)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(device, stale, 0); err != nil {
			t.Fatal(err)
		}
		ours := program.Run(t, w.ours, w.env, program.AsQemuImg(), args...)
		if ours.Code != theirs.Code || ours.Stdout != theirs.Stdout || ours.Stderr != theirs.Stderr {
			t.Errorf("%s\nexit code %d, want %d\n%q\nwant\n%q\n%q\nwant\n%q", line, ours.Code, theirs.Code, ours.Stdout, theirs.Stdout, ours.Stderr, theirs.Stderr)
		}
		raw := !strings.Contains(line, "-O qcow2") && !strings.Contains(line, "-f qcow2")
		if got, err := os.ReadFile(device); raw && ours.Code == 0 && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%s\nthe device has other bytes, %v", line, err)
		}
		if strings.Contains(line, "-O qcow2") && ours.Code == 0 {
			input := "text.raw"
			if strings.Contains(line, "chain5") {
				input = "chain5.qcow2"
			}
			program.MustRun(t, w.ours, nil, w.qemuImg, "check", "-f", "qcow2", device)
			program.MustRun(t, w.ours, nil, w.qemuImg, "compare", "-F", "qcow2", input, device)
		}
	}
}
