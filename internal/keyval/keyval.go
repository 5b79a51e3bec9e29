// Package keyval reads lists as QEMU writes them on its command line:
// NAME=VALUE,NAME=VALUE,… with two commas for one in a value.
package keyval

import "strings"

// A Pair is one NAME=VALUE of a list.
type Pair struct {
	Name, Value string
	Bare        bool // there is no equals sign: Name is all that there is
}

// Parse splits a list at its commas. Parts with nothing in them are left out.
func Parse(s string) []Pair {
	var list []Pair
	for _, part := range splitCommas(s) {
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		list = append(list, Pair{Name: name, Value: value, Bare: !found})
	}
	return list
}

func splitCommas(s string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			part.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == ',':
			part.WriteByte(',')
			i++
		default:
			parts = append(parts, part.String())
			part.Reset()
		}
	}
	return append(parts, part.String())
}

// Escape doubles the commas of a value, as they are in a list.
func Escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// AsksForHelp reports that a list has "help" or "?" in it.
func AsksForHelp(list []Pair) bool {
	for _, p := range list {
		if p.Bare && (p.Name == "help" || p.Name == "?") {
			return true
		}
	}
	return false
}

// Boolean gives a name without a value the one that it stands for: NAME is on,
// and noNAME is NAME off.
func (p Pair) Boolean() Pair {
	if !p.Bare {
		return p
	}
	if name, ok := strings.CutPrefix(p.Name, "no"); ok {
		return Pair{Name: name, Value: "off"}
	}
	return Pair{Name: p.Name, Value: "on"}
}
