package keyval

import (
	"strings"
	"testing"
)

// FuzzParse: a list that is written from what was read is read as the same.
func FuzzParse(f *testing.F) {
	f.Add("a=b,,c,d,=x,e=1=2,,")
	f.Add(",,,")
	f.Fuzz(func(t *testing.T, s string) {
		list := Parse(s)
		if len(list) > strings.Count(s, ",")+1 {
			t.Fatalf("%d of %q", len(list), s)
		}
		for _, p := range list {
			text := Escape(p.Name)
			if !p.Bare {
				text += "=" + Escape(p.Value)
			}
			again := Parse(text)
			if len(again) != 1 || again[0] != p {
				t.Fatalf("%q: %+v, written %q, is %+v", s, p, text, again)
			}
		}
	})
}
