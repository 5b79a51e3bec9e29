// Package winpath turns the names that images made on Windows have for other
// files into names to look for on this system.
package winpath

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf16"
)

// MaxLength is the greatest length of an encoded name in bytes that is taken:
// 32767 UTF-16 units are the longest path of Windows, without its NUL.
const MaxLength = 2 * 32767

// ErrName says that an encoded name is none: longer than MaxLength, of odd
// length, or with a NUL inside.
var ErrName = errors.New("malformed file name")

// Decode returns the UTF-16 text of p without what follows it as padding.
func Decode(p []byte, order binary.ByteOrder) (string, error) {
	if len(p)%2 != 0 || len(p) > MaxLength {
		return "", ErrName
	}
	units := make([]uint16, len(p)/2)
	for i := range units {
		units[i] = order.Uint16(p[2*i:])
	}
	s := strings.TrimRight(string(utf16.Decode(units)), "\x00")
	if strings.ContainsRune(s, 0) {
		return "", ErrName
	}
	return s, nil
}

// Candidates returns the names to try for a file that an image calls by each
// of paths, in the order of preference. Relative paths come first, with this
// system's separators. What is absolute on Windows means nothing here: its last
// element is looked for beside the image, and the path itself, as it stands,
// comes last, so that whoever decides sees it.
func Candidates(paths ...string) []string {
	var relative, last, literal []string
	for _, path := range paths {
		if !absolute(path) {
			relative = append(relative, local(path))
			continue
		}
		last = append(last, base(path))
		literal = append(literal, path)
	}
	var names []string
	for _, name := range slices.Concat(relative, last, literal) {
		if name != "" && name != "." && name != ".." && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func absolute(path string) bool {
	return strings.HasPrefix(path, `\`) || strings.HasPrefix(path, "/") || hasDrive(path)
}

func hasDrive(path string) bool {
	return len(path) >= 2 && path[1] == ':' && (path[0]|0x20 >= 'a' && path[0]|0x20 <= 'z')
}

func local(path string) string {
	path = strings.ReplaceAll(path, `\`, "/")
	for {
		rest, ok := strings.CutPrefix(path, "./")
		if !ok {
			return path
		}
		path = strings.TrimLeft(rest, "/")
	}
}

func base(path string) string {
	if hasDrive(path) {
		path = path[2:]
	}
	return path[strings.LastIndexAny(path, `\/`)+1:]
}
