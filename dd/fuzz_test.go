package dd

import (
	"strings"
	"testing"
)

// FuzzParseOperands takes any arguments for those of a dd: they are within what
// the fields say, or there is an error.
func FuzzParseOperands(f *testing.F) {
	f.Add("if=a\nof=b\nbs=1M\ncount=3\nskip=0x10")
	f.Add("if=a=b\nof=b\nbs=2147483648")
	f.Add("if=a\nof=b\nbs=0\nskip=-1")
	f.Add("if=a\nof=b\nbs=1.5k\ncount=18446744073709551615\nskip=9223372036854775807")
	f.Add("foo=1\nbar")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOperands(strings.Split(text, "\n"), "", "")
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		if o.Input == "" && !strings.Contains(text, "if=") || o.BlockSize < 1 || o.BlockSize > MaxBlockSize ||
			o.Skip < 0 || o.Count != nil && *o.Count < 0 || o.OutputFormat != DefaultOutputFormat {
			t.Fatalf("%q: %+v", text, o)
		}
		for _, size := range []int64{0, 1, 513, 1 << 40, 1<<63 - 512} {
			w := ComputeWindow(size, o.BlockSize, o.Count, o.Skip)
			if w.Start < 0 || w.End < w.Start || w.End > (size+511)&^511 || w.OutSize < w.End-w.Start || w.OutSize%512 != 0 {
				t.Fatalf("%q of %d bytes: %+v", text, size, w)
			}
		}
	})
}
