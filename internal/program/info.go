package program

import (
	"regexp"
	"strings"
)

var (
	childrenOf = []*regexp.Regexp{
		regexp.MustCompile(`(?ms)^    "children": \[\n.*?^    \],\n`),
		regexp.MustCompile(`(?ms)^        "children": \[\n.*?^        \],\n`),
	}
	safetyOf = []*regexp.Regexp{
		regexp.MustCompile(`(?ms),\n    "safety": \{\n.*?^    \}`),
		regexp.MustCompile(`(?ms),\n        "safety": \{\n.*?^        \}`),
	}
)

// AsInfo returns what info printed, in either form, without what qemu-img 7.2
// does not print: the files that an image is stored in, and what is risky about it.
func AsInfo(s string) string {
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		depth := 0 // of the objects in the list of --backing-chain
		if s[0] == '[' {
			depth = 1
		}
		return safetyOf[depth].ReplaceAllString(childrenOf[depth].ReplaceAllString(s, ""), "")
	}
	var b strings.Builder
	left := false
	for line := range strings.Lines(s) {
		switch {
		case strings.HasPrefix(line, "Child node '"), strings.HasPrefix(line, "Safety:"):
			left = true
		case line == "\n":
			left = false
		}
		if !left {
			b.WriteString(line)
		}
	}
	return b.String()
}
