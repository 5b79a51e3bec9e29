// Package safetext makes text that came from an image fit to be shown.
package safetext

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Escape returns s with every byte and rune that is not printable written as
// an escape sequence of a Go string: the result is one line, valid UTF-8, and
// no terminal acts on it. Printable text, backslashes included, stays as it is.
func Escape(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unprintable(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// unprintable also holds for what strings.ContainsFunc makes of an invalid
// byte, and for a replacement character that was one before.
func unprintable(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }

// Limit returns s cut to at most n bytes, at the edge of a rune, with an
// ellipsis in place of the rest.
func Limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
