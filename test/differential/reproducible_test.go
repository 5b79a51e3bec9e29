package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"instar/internal/program"
)

// The same command gives the same files at another time, ids and times included,
// if it is asked to.
func TestReproducible(t *testing.T) {
	t.Parallel()
	inputs, folder := images(t), t.TempDir()
	input := func(name string) string { return filepath.Join(inputs, name) }
	// In vpc and vdi images, and in those below, there are ids or times.
	varies := map[string]bool{"vpc": true, "vhdx": true, "vdi": true, "vmdk": true}
	var lines []string
	for _, format := range []string{
		"raw", "qcow2", "qcow2 -o extended_l2=on", "qcow2 -o preallocation=metadata", "vmdk", "vmdk -o subformat=streamOptimized",
		"vmdk -o subformat=twoGbMaxExtentSparse", "vmdk -o subformat=monolithicFlat", "vpc", "vpc -o subformat=fixed", "vhdx", "vhdx -o subformat=fixed",
		"vdi", "vdi -o static=on", "qcow", "qed", "parallels",
	} {
		lines = append(lines, "convert -O "+format+" "+input("text.raw")+" out.img", "create -q -f "+format+" out.img 3M")
		if !strings.Contains(format, " ") {
			lines = append(lines, "dd -O "+format+" if="+input("pattern.qcow2")+" of=out.img bs=1000 skip=3")
		}
	}
	for _, format := range []string{"qcow2", "qcow2 -o compression_type=zstd", "qcow", "vmdk"} {
		lines = append(lines, "convert -c -O "+format+" "+input("text.raw")+" out.img")
	}
	asked := map[string]struct{ env, flags []string }{
		"flag":        {nil, []string{"--reproducible"}},
		"environment": {[]string{"SOURCE_DATE_EPOCH=1700000000"}, nil},
		"neither":     {},
	}
	run := func(line, how, time string) string {
		dir := filepath.Join(folder, strings.ReplaceAll(line, "/", "_"), how, time)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		args := append(strings.Fields(line), asked[how].flags...)
		program.MustRun(t, dir, append(asked[how].env, "INSTAR_SANDBOX=jail"), program.Instar(), args...)
		return dir
	}
	requireWall(t, "jail")
	first := map[[2]string]string{}
	for _, line := range lines {
		for how := range asked {
			first[[2]string{line, how}] = run(line, how, "first")
		}
	}
	time.Sleep(1100 * time.Millisecond) // times count in seconds
	for key, one := range first {
		line, how := key[0], key[1]
		format := strings.Fields(line)[2]
		if strings.HasPrefix(line, "create") || strings.Contains(line, " -c ") {
			format = strings.Fields(line)[3]
		}
		two := run(line, how, "second")
		same := names(t, one) == names(t, two)
		for _, name := range strings.Fields(names(t, one)) {
			diff, err := program.Difference(filepath.Join(one, name), filepath.Join(two, name))
			if err != nil {
				t.Fatal(err)
			}
			same = same && diff == ""
		}
		if want := how != "neither" || !varies[format]; same != want {
			t.Errorf("%s, %s: the same: %v, want %v", line, how, same, want)
		}
	}
}
