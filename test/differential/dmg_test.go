package differential

import (
	"os"
	"path/filepath"
	"testing"
)

// A dmg is known by its name, and read as qemu-img reads it.
func TestDMGAsQemuImg(t *testing.T) {
	t.Parallel()
	image, err := os.ReadFile("../../disk/dmg/testdata/mixed.dmg")
	if err != nil {
		t.Fatal(err)
	}
	w := newTwo(t, func(folder string) {
		damaged := append([]byte{}, image...)
		damaged[8192+2] ^= 0xff // within the second chunk
		for name, content := range map[string][]byte{
			"mixed.dmg": image, "mixed.img": image, "damaged.dmg": damaged, "short.dmg": image[:300], "later.dmg": append(append([]byte{}, image...), "more"...),
		} {
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, args := range [][]string{
		{"info", "mixed.dmg"},
		{"info", "--output=json", "-f", "dmg", "mixed.img"},
		{"convert", "-O", "raw", "mixed.dmg", "out"},
		{"convert", "-f", "dmg", "-O", "qcow2", "mixed.img", "out"},
		{"convert", "-f", "dmg", "-O", "raw", "later.dmg", "out"},
		{"convert", "-O", "raw", "mixed.img", "out"}, // raw: the name says nothing
		{"dd", "if=mixed.dmg", "of=out"},
		{"dd", "bs=512", "skip=31", "count=33", "if=mixed.dmg", "of=out"},
		{"dd", "bs=512", "skip=15", "count=17", "if=mixed.dmg", "of=out"},
		{"dd", "-f", "dmg", "bs=1000", "skip=9", "count=40", "if=mixed.img", "of=out"},
		{"dd", "-f", "dmg", "if=pattern.raw", "of=out"},
		{"info", "-f", "dmg", "short.dmg"},
		{"info", "-f", "dmg", "pattern.raw"},
	} {
		w.compare(t, args...)
	}
	w.diverge(t, &divergence{1, "error while reading from input image file: Input/output error (the chunk at sector 16: compressed data is damaged)"},
		"dd", "if=damaged.dmg", "of=out")
	// Raw, where qemu-img finds no trailer and fails.
	w.diverge(t, &divergence{0, ""}, "convert", "-O", "raw", "short.dmg", "out")
}
