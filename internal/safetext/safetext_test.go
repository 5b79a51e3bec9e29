package safetext

import (
	"strconv"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"plain name.qcow2":        "plain name.qcow2",
		`back\slash`:              `back\slash`,
		"größe-磁盘":                "größe-磁盘",
		"a\nb":                    `a\nb`,
		"\x1b[31mred":             `\x1b[31mred`,
		"nul\x00":                 `nul\x00`,
		"bad\xffbyte":             `bad\xffbyte`,
		"\u202eright to left":     `\u202eright to left`,
		"c1 \u009b control":       `c1 \u009b control`,
		"\U000e0001 tag":          `\U000e0001 tag`,
		"\r\n\t":                  `\r\n\t`,
		"replacement \ufffd rune": `replacement \ufffd rune`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		if !utf8.ValidString(got) {
			t.Fatalf("Escape(%q) = %q is not valid UTF-8", s, got)
		}
		for _, r := range got {
			if !strconv.IsPrint(r) {
				t.Fatalf("Escape(%q) = %q has %q", s, got, r)
			}
		}
		if Escape(got) != got {
			t.Fatalf("Escape(%q) = %q is escaped once more", s, got)
		}
	})
}

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"äöü", 3, "ä…"},
		{"", 0, ""},
		{"\xff\xff\xff", 2, "\xff\xff…"},
	} {
		if got := Limit(c.in, c.n); got != c.want {
			t.Errorf("Limit(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
