package keyval

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		in   string
		want []Pair
	}{
		{"", nil},
		{"a=b", []Pair{{Name: "a", Value: "b"}}},
		{"a=b,c", []Pair{{Name: "a", Value: "b"}, {Name: "c", Bare: true}}},
		{"a=b,,c,d=", []Pair{{Name: "a", Value: "b,c"}, {Name: "d"}}},
		{"a=b=c", []Pair{{Name: "a", Value: "b=c"}}},
		{"=x", []Pair{{Value: "x"}}},
		{"a=1,,", []Pair{{Name: "a", Value: "1,"}}},
		{"a=1,,,b=2", []Pair{{Name: "a", Value: "1,"}, {Name: "b", Value: "2"}}},
	} {
		if got := Parse(test.in); !slices.Equal(got, test.want) {
			t.Errorf("Parse(%q) = %+v, want %+v", test.in, got, test.want)
		}
	}
}

func TestBoolean(t *testing.T) {
	for in, want := range map[string]Pair{
		"flag":     {Name: "flag", Value: "on"},
		"noflag":   {Name: "flag", Value: "off"},
		"nocow":    {Name: "cow", Value: "off"},
		"nonocow":  {Name: "nocow", Value: "off"},
		"flag=off": {Name: "flag", Value: "off"},
	} {
		if got := Parse(in)[0].Boolean(); got != want {
			t.Errorf("%q stands for %+v, want %+v", in, got, want)
		}
	}
}

func TestAsksForHelp(t *testing.T) {
	for in, want := range map[string]bool{"help": true, "a=1,help": true, "?": true, "help=1": false, "xhelp": false, "": false} {
		if got := AsksForHelp(Parse(in)); got != want {
			t.Errorf("%q asks for help: %v", in, got)
		}
	}
}
