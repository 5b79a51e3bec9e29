package differential

import (
	"bytes"
	"os"
	"path/filepath"
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

// With --salvage each sector that cannot be read is told of, and is zeros.
func TestConvertSalvagesAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.convert("text.raw", "broken.qcow2", "-c", "-O", "qcow2")
		f, err := os.OpenFile(filepath.Join(folder, "broken.qcow2"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		// The first compressed cluster comes behind five others.
		if _, err := f.WriteAt([]byte{0, 0, 0, 0, 0, 5, 2, 0}, 5<<16+8); err != nil {
			t.Fatal(err)
		}
	})
	for _, line := range []string{
		"--salvage broken.qcow2 out",
		"--salvage -q broken.qcow2 out",
		"--salvage -S 0 broken.qcow2 out",
		"--salvage -O qcow2 broken.qcow2 out",
		"--salvage pattern.raw broken.qcow2 out",
		"--salvage chain5.qcow2 out",
	} {
		w.compare(t, append([]string{"convert"}, strings.Fields(line)...)...)
	}
}

// Cache modes, limits and the rest that is for speed do not change the bytes.
func TestConvertTakesWhatIsForSpeed(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, line := range []string{
		"-t none -T none",
		"-t directsync -T directsync",
		"-t writethrough -T writethrough",
		"-t writeback -T unsafe",
		"-t none -t unsafe",
		"-r 100M",
		"-r 0",
		"-C",
		"-C -W -m 16",
		"-t bogus",
		"-T bogus",
		"-n -t bogus",
	} {
		for _, files := range []string{"text.raw out", "odd.raw zlib.qcow2 out", "-O qcow2 chain5.qcow2 out"} {
			w.compare(t, append([]string{"convert"}, strings.Fields(line+" "+files)...)...)
		}
	}
	for value, text := range map[string]string{
		"0":  "Invalid number of coroutines specified. Must be between 1 and 16.",
		"17": "Invalid number of coroutines specified. Must be between 1 and 16.",
		"x":  "Invalid number of coroutines specified: 'x'",
	} {
		w.diverge(t, &divergence{1, text}, "convert", "-m", value, "text.raw", "out")
	}
}

// Of several things that are wrong qemu-img's first one is told, behind the
// progress that it shows.
func TestConvertChecksInTheOrderOfQemuImg(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	wrong := []string{
		"--skip-broken-bitmaps", "-C --salvage", "--target-is-zero", "-T bogus", "nope", "-l zz", "-O bogus", "-O bochs",
		"-O qcow2 -o foo=1", "-B x", "-c", "--bitmaps", "-t bogus", "-O qcow2 -o cluster_size=3k", "-O qcow2 -F raw",
	}
	for i, a := range wrong {
		w.compare(t, append([]string{"convert", "-p"}, strings.Fields(a+" sector.raw out")...)...)
		for _, b := range wrong[i+1:] {
			w.compare(t, append([]string{"convert"}, strings.Fields(a+" "+b+" sector.raw out")...)...)
		}
	}
	for _, line := range []string{"-p nope sector.raw", "-p sector.raw nope", "-p -T bogus sector.raw sector.raw", "-p"} {
		w.compare(t, append([]string{"compare"}, strings.Fields(line)...)...)
	}
}

// Targets that are there, named as files and as lists of options.
func TestConvertIntoWhatIsThereAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	w.existing = true
	for _, line := range []string{
		"--target-image-opts text.raw driver=raw,file.filename=out",
		"-n -O raw --target-image-opts text.raw driver=raw,file.filename=out",
		"-n --target-image-opts text.raw out",
		"-n --target-image-opts text.raw driver=bogus,file.filename=out",
		"-n --target-image-opts text.raw driver=raw,file.filename=nope",
		"-n --target-image-opts text.raw driver=raw,file.filename=out",
		"-n --target-image-opts text.raw driver=raw,file.driver=file,file.filename=out,cache.direct=on,file.locking=off,discard=unmap",
		"-n --target-image-opts text.raw driver=file,filename=out",
		"-n --target-image-opts big.qcow2 driver=raw,file.filename=out",
		"-n --target-image-opts -c text.raw driver=raw,file.filename=out",
		"-n --target-image-opts -t bogus text.raw driver=raw,file.filename=nope",
		"-n -B x text.raw out",
		"-n -B x -F raw text.raw out",
		"-n -c text.raw out",
		"-n -O bogus text.raw out",
		"-n -o size=1 text.raw out",
		"-n --target-is-zero text.raw out",
		"--target-is-zero text.raw out",
		"-n text.raw out",
		"-n -S 0 zlib.qcow2 out",
		"-n -t none chain5.qcow2 out",
		"-n big.qcow2 out",
		"-n text.raw nope",
	} {
		for _, folder := range []string{w.ours, w.theirs} {
			if err := os.WriteFile(filepath.Join(folder, "out"), bytes.Repeat([]byte("there"), 500_000), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		w.compare(t, append([]string{"convert"}, strings.Fields(line)...)...)
	}
}
