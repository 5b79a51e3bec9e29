package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateIsThatOfQemuImg(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		if err := os.Mkdir(filepath.Join(folder, "folder"), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	for _, line := range []string{
		// The command line.
		"",
		"out",
		"-f qcow2 out",
		"out 1M 2M",
		"out 16E",
		"out 8E",
		"--bogus",
		"-o",
		"-o , out 1M",
		"--object bogus out 1M",
		// What there is to say about options.
		"-f qcow2 -o help",
		"-f vmdk -o help out",
		"-f bogus -o help",
		"-f qcow2 -o a=b -o help",
		"-f bogus out 1M",
		"-f bochs out 1M",
		"-f qcow2 a:b 1M",
		"-f qcow2 -o foo=1 out 1M",
		"-f qcow2 -o cluster_size=abc out 1M",
		"-f qcow2 -o cluster_size=3k out 1M",
		"-f qcow2 -o size=3M out 1M",
		"-f qcow2 -o size=3M out",
		"-f raw -o preallocation=metadata out 1M",
		"-f raw -o preallocation=full out 1M",
		"-f raw -o extent_size_hint=8G out 1M",
		// Sizes.
		"out 0",
		"out 1M",
		"-f raw out 1000",
		"-f file out 1000",
		"-f qcow2 out 0",
		"-f qcow2 out 1",
		"-f qcow2 out 1.5M",
		"-f qcow2 out 1T",
		"-q -f qcow2 out 1M",
		"-f qcow2 out 1M -q",
		"-f qcow2 -o cluster_size=512,refcount_bits=1 out 1M",
		"-f qcow2 -o compat=0.10,lazy_refcounts=no out 1M",
		"-f qcow2 -o nocow,extent_size_hint=1M,compat=1.1 out 1M",
		"-f qcow2 -o preallocation=metadata out 1M",
		"-f raw out 9223372036854775807",
		"-f raw out 9223372036854775000",
		"-f qcow2 out 9223372036854775807",
		"-f qcow2 out 4E",
		"-f vpc out 3T",
		// Backing files.
		"-f qcow2 -b nope.raw out",
		"-f qcow2 -b nope.raw -F raw out",
		"-f qcow2 -b nope.raw -F raw -u out",
		"-f qcow2 -b nope.raw -F raw -u out 1M",
		"-f qcow2 -b nope.raw -u out 1M",
		"-f qcow2 -b pattern.raw -F raw out",
		"-f qcow2 -b pattern.raw -F raw out 4M",
		"-f qcow2 -b pattern.raw -F raw out 1000",
		"-f qcow2 -b pattern.qcow2 -F qcow2 out",
		"-f qcow2 -b chain5.qcow2 -F qcow2 out",
		"-f qcow2 -b pattern.raw out",
		"-f qcow2 -b pattern.raw -F bogus out",
		"-f qcow2 -b pattern.raw -F qcow2 out",
		"-f qcow2 -b folder -F raw out",
		"-f qcow2 -b out -F raw out 1M",
		"-f qcow2 -b nope.raw -F raw folder/out",
		"-f qcow2 -o backing_file=pattern.raw,backing_fmt=raw out",
		"-f qcow2 -o backing_file=pattern.raw out",
		"-f qcow2 -o backing_file=nope -b pattern.raw -F raw out",
		"-f raw -b pattern.raw -F raw out",
		"-f raw -F raw out 1M",
		// The file.
		"-f qcow2 nope/out 1M",
		"-f raw folder 1M",
		"-f raw /dev/null 1M",
		"-f raw /dev/null 0",
	} {
		w.compare(t, append([]string{"create"}, strings.Fields(line)...)...)
	}
	w.compare(t, "create", "-f", "qcow2", "", "1M")
	w.compare(t, "create", "-f", "qcow2", "-b", "", "-F", "raw", "out", "1M")
	w.compare(t, "create", "-f", "qcow2", "-b", "pattern.raw", "-F", "", "out", "1M")
	w.diverge(t, &divergence{1, "Invalid image size specified: 'abc'"}, "create", "out", "abc", "2M")
}
