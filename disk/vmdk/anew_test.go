package vmdk

import (
	"strings"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

// TestLost has images that a new one would not be like.
func TestLost(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"split":                    {text("twoGbMaxExtentFlat", `RW 4194304 FLAT "a" 0`+"\n"+`RW 5 FLAT "b" 0`), ""},
		"one":                      {text("monolithicFlat", `RW 5 FLAT "a" 0`), ""},
		"of VMFS":                  {text("vmfs", `RW 5 VMFS "a"`), "it is of the type vmfs"},
		"two where there is one":   {text("monolithicFlat", `RW 5 FLAT "a" 0`+"\n"+`RW 5 FLAT "b" 0`), "its extents are others than those of a new image"},
		"a short one at first":     {text("twoGbMaxExtentFlat", `RW 5 FLAT "a" 0`+"\n"+`RW 5 FLAT "b" 0`), "its extents are others than those of a new image"},
		"a long one":               {text("twoGbMaxExtentFlat", `RW 4194305 FLAT "a" 0`), "its extents are others than those of a new image"},
		"one within a file":        {text("monolithicFlat", `RW 5 FLAT "a" 9`), "its extents are others than those of a new image"},
		"a sparse one among flat":  {text("monolithicFlat", `RW 5 SPARSE "a"`), "its extents are others than those of a new image"},
		"zeros":                    {text("twoGbMaxExtentFlat", `RW 5 ZERO`), "its extents are others than those of a new image"},
		"a parent as on Windows":   {strings.Replace(text("monolithicFlat", `RW 5 FLAT "a" 0`), "\ncreateType", "\nparentFileNameHint=\"C:\\\\a\"\ncreateType", 1), "its parent is named as on Windows"},
		"a sparse one, not looked": {text("twoGbMaxExtentSparse", `RW 5 SPARSE "a"`), ""},
	} {
		if got := mustOpen(t, []byte(tc.text)).Info().Lost; got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	x, _ := sample()
	i := mustOpen(t, x.image())
	const want = "it has grains of 8192 bytes, 512 to a table"
	if got := i.Info().Lost; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, err := Format.Create(disktest.NewTarget(nil), i.Size(), disk.WriterOptions{Old: i})
	if err == nil || err.Error() != want {
		t.Errorf("laid out anew: %v, want %s", err, want)
	}
}
