package disktest

import (
	"bytes"
	"testing"

	"instar/disk"
)

// A Damage is done to an image, and has the error that its Check returns then; "" is
// none.
type Damage struct {
	Name string
	Do   func(p []byte)
	Want string
}

// CheckDamaged has a sound image pass its Check, and fail when damaged.
func CheckDamaged(t *testing.T, f disk.Format, image []byte, damages ...Damage) {
	t.Helper()
	for _, d := range append([]Damage{{"nothing", func([]byte) {}, ""}}, damages...) {
		p := bytes.Clone(image)
		d.Do(p)
		i, err := f.Open(File(p), disk.OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		got := ""
		if err := i.(disk.Checker).Check(); err != nil {
			got = err.Error()
		}
		if got != d.Want {
			t.Errorf("%s: %q, want %q", d.Name, got, d.Want)
		}
	}
}
