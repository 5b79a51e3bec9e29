package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompareIsThatOfQemuImg(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		for name, at := range map[string]int64{"same.raw": -1, "late.raw": 700_000, "long.raw": -2, "longer.raw": 1_500_000} {
			f, err := os.Create(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			size := int64(1 << 20)
			if at < -1 || at > size {
				size *= 2
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			if at > 0 {
				if _, err := f.WriteAt([]byte("x"), at); err != nil {
					t.Fatal(err)
				}
			}
			f.Close()
		}
		if err := os.WriteFile(filepath.Join(folder, "zeros.raw"), make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	for _, line := range []string{
		// The command line.
		"",
		"same.raw",
		"a b c",
		"--bogus",
		"-x",
		"-f",
		"-T bogus same.raw zeros.raw",
		"-T none same.raw zeros.raw",
		"--object bogus same.raw zeros.raw",
		"--image-opts -f raw same.raw zeros.raw",
		"--image-opts driver=raw,file.filename=same.raw driver=raw,file.filename=late.raw",
		// Opening.
		"nope zeros.raw",
		"same.raw nope",
		"-f bogus same.raw zeros.raw",
		"-F bogus same.raw zeros.raw",
		"-f qcow2 same.raw pattern.qcow2",
		"-F raw pattern.raw pattern.qcow2",
		"-f raw -F qcow2 pattern.raw pattern.qcow2",
		// Content.
		"same.raw zeros.raw",
		"zeros.raw same.raw",
		"-s same.raw zeros.raw",
		"-s zeros.raw same.raw",
		"-s same.raw same.raw",
		"-q same.raw zeros.raw",
		"same.raw late.raw",
		"-q same.raw late.raw",
		"late.raw zeros.raw",
		"-p same.raw zeros.raw",
		"-p -q same.raw late.raw",
		"pattern.raw pattern.qcow2",
		"text.raw zlib.qcow2",
		"text.raw zstd.qcow2",
		"pattern.qcow2 chain5.qcow2",
		"-s pattern.qcow2 pattern.qcow2",
		"-U pattern.qcow2 pattern.raw",
		// Sizes.
		"same.raw long.raw",
		"-s same.raw long.raw",
		"-q same.raw long.raw",
		"-p same.raw long.raw",
		"-p -s same.raw long.raw",
		"same.raw longer.raw",
		"longer.raw same.raw",
		"-q longer.raw same.raw",
		"late.raw longer.raw",
		"-s late.raw longer.raw",
		"odd.raw odd.raw",
		"empty.raw same.raw",
		"empty.raw late.raw",
		"empty.raw empty.raw",
	} {
		w.compare(t, append([]string{"compare"}, strings.Fields(line)...)...)
	}
	w.compare(t, "compare", "", "same.raw")
}
