package differential

import (
	"bytes"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// Clusters that can be compressed lie between others that cannot, or only by less
// than a sector: what is left of a cluster of the file is used all the same.
func TestCompressedAmongOthersTakesAsMuch(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewSource(1))
	for _, test := range []struct {
		cluster int
		options string
	}{
		{64 * kib, "compression_type=zlib"},
		{64 * kib, "compression_type=zstd"},
		{64 * kib, "refcount_bits=2"},
		{64 * kib, "extended_l2=on"},
		{4 * kib, "cluster_size=4k"},
		{512, "cluster_size=512"},
		{512, "cluster_size=512,refcount_bits=1"},
	} {
		var content []byte
		for k := range 256 {
			n := test.cluster
			if k%3 > 0 {
				n = random.Intn(n)
			}
			content = append(content, make([]byte, n)...)
			random.Read(content[len(content)-n:])
			content = append(content, bytes.Repeat([]byte("a"), test.cluster-n)...)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "in"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		line := []string{"convert", "-m", "1", "-c", "-f", "raw", "-O", "qcow2", "-o", test.options, "in"}
		program.MustRun(t, dir, nil, testutil.QemuImg(t), append(line, "theirs")...)
		program.MustRun(t, dir, nil, program.AsQemuImg(), append(line, "ours")...)
		program.MustRun(t, dir, nil, testutil.QemuImg(t), "compare", "in", "ours")
		program.MustRun(t, dir, nil, testutil.QemuImg(t), "check", "ours")
		got, want := length(t, filepath.Join(dir, "ours")), length(t, filepath.Join(dir, "theirs"))
		if got > want+want/16 { // one compresses better than the other
			t.Errorf("%s: %d bytes, qemu-img's has %d", test.options, got, want)
		}
	}
}
