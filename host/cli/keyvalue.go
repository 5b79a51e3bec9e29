package cli

import "strings"

// A keyValue is one NAME=VALUE of a list as QEMU writes them: NAME=VALUE,….
type keyValue struct {
	name, value string
	bare        bool // there is no equals sign: name is all that there is
}

// parseList splits a list at its commas, of which two are one in a value.
func parseList(s string) []keyValue {
	var list []keyValue
	for _, part := range splitCommas(s) {
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		list = append(list, keyValue{name: name, value: value, bare: !found})
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

// asksForHelp reports that a list has "help" or "?" in it.
func asksForHelp(list []keyValue) bool {
	for _, kv := range list {
		if kv.bare && (kv.name == "help" || kv.name == "?") {
			return true
		}
	}
	return false
}
