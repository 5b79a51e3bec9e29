package winpath

import (
	"encoding/binary"
	"errors"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

func TestCandidates(t *testing.T) {
	for _, test := range []struct{ paths, want []string }{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{`.\base.vhd`}, []string{"base.vhd"}},
		{[]string{`.\\.\base.vhd`}, []string{"base.vhd"}},
		{[]string{`..\dir\base.vhd`}, []string{"../dir/base.vhd"}},
		{[]string{`dir/base.vhd`}, []string{"dir/base.vhd"}},
		{[]string{`C:\vm\base.vhd`}, []string{"base.vhd", `C:\vm\base.vhd`}},
		{[]string{`c:base.vhd`}, []string{"base.vhd", `c:base.vhd`}},
		{[]string{`C:\vm\old.vhd`, `.\base.vhd`}, []string{"base.vhd", "old.vhd", `C:\vm\old.vhd`}},
		{[]string{`\\host\share\base.vhd`}, []string{"base.vhd", `\\host\share\base.vhd`}},
		{[]string{`\\?\Volume{1-2}\vm\base.vhdx`}, []string{"base.vhdx", `\\?\Volume{1-2}\vm\base.vhdx`}},
		{[]string{`/etc/passwd`}, []string{"passwd", "/etc/passwd"}},
		{[]string{`C:\vm\..`}, []string{`C:\vm\..`}},
		{[]string{`http://host/x`}, []string{"http://host/x"}},
		{[]string{`.`, `..`}, nil},
	} {
		if diff := cmp.Diff(test.want, Candidates(test.paths...)); diff != "" {
			t.Errorf("%q: %s", test.paths, diff)
		}
	}
}

func TestDecode(t *testing.T) {
	encode := func(s string, order binary.AppendByteOrder) (p []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			p = order.AppendUint16(p, u)
		}
		return p
	}
	for _, s := range []string{"", "a", `..\Ünïcode 😀.vhd`} {
		for _, pad := range []string{"", "\x00", "\x00\x00\x00"} {
			if got, err := Decode(encode(s+pad, binary.LittleEndian), binary.LittleEndian); got != s || err != nil {
				t.Errorf("little-endian %q: %q, %v", s+pad, got, err)
			}
			if got, err := Decode(encode(s+pad, binary.BigEndian), binary.BigEndian); got != s || err != nil {
				t.Errorf("big-endian %q: %q, %v", s+pad, got, err)
			}
		}
	}
	for name, p := range map[string][]byte{
		"NUL inside": encode("a\x00b", binary.LittleEndian),
		"odd":        {'a', 0, 'b'},
		"long":       make([]byte, MaxLength+2),
	} {
		if _, err := Decode(p, binary.LittleEndian); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
