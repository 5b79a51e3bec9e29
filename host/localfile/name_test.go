package localfile

import (
	"errors"
	"testing"
)

func TestPath(t *testing.T) {
	for _, test := range []struct{ name, path, protocol string }{
		{"a", "a", ""},
		{"", "", ""},
		{"-", "-", ""},
		{"./a:b", "./a:b", ""},
		{"/a:b", "/a:b", ""},
		{"file:a", "a", ""},
		{"file:/a", "/a", ""},
		{"file:", "", ""},
		{"file:file:a", "./file:a", ""}, // as qemu shows it
		{"a:b", "", "a"},
		{":b", "", ""},
		{"json:{}", "", "json"},
		{"nbd://h/x", "", "nbd"},
		{"FILE:a", "", "FILE"},
	} {
		path, err := Path(test.name)
		var protocol *ProtocolError
		switch {
		case errors.As(err, &protocol):
			if protocol.Protocol != test.protocol {
				t.Errorf("%q: protocol %q", test.name, protocol.Protocol)
			}
		case path != test.path || test.protocol != "":
			t.Errorf("Path(%q) = %q, %v", test.name, path, err)
		}
	}
}
