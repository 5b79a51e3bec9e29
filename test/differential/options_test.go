package differential

import (
	"strings"
	"testing"
)

// Lists of options, and what is wrong with an option, are qemu-img's for every
// format and in its order.
func TestConvertTakesOptionsAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, line := range []string{
		"-o help pattern.raw out",
		"-o help",
		"-O qcow2 -o help pattern.raw out",
		"-O qcow2 -o ? pattern.raw",
		"-O vmdk -o a=b -o help,c pattern.raw out",
		"-O vpc -o help",
		"-O luks -o help x y",
		"-O bogus -o help",
		"-O bochs -o help",
		"-O raw -o cluster_size=1 pattern.raw out",
		"-O raw -o nofoo pattern.raw out",
		"-O raw -o preallocation=metadata pattern.raw out",
		"-O raw -o preallocation=x,size=y pattern.raw out",
		"-O raw -o preallocation=x pattern.raw out",
		"-O raw -o extent_size_hint=8G pattern.raw out",
		"-O raw -o preallocation=falloc pattern.raw out",
		"-O raw -o preallocation=full,nocow,size=5 pattern.raw out",
		"-O raw -o nonocow pattern.raw out",
		"-O qcow2 -o cluster_size=x -B base pattern.raw out",
		"-O qcow2 -o lazy_refcounts=maybe,a=b pattern.raw out",
		"-O qcow2 -o cluster_size=3k -o a=b pattern.raw out",
		"-O raw -o , pattern.raw out",
		"-O raw -c pattern.raw out",
		"-O raw -B base -F raw -c pattern.raw out",
		"-O raw -F raw -c pattern.raw out",
		"-O raw -o a=b -c pattern.raw out",
		"-O raw --bitmaps pattern.raw text.raw out",
		"-O raw --bitmaps pattern.raw out",
		"-O raw --bitmaps pattern.qcow2 out",
	} {
		w.compare(t, append([]string{"convert"}, strings.Fields(line)...)...)
	}
}
