package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// testFlags are the kinds of flag that there are.
func testFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.StringP("format", "f", "", "")
	f.StringP("output-format", "O", "", "")
	f.String("output", "", "")
	f.BoolP("quiet", "q", false, "")
	f.BoolP("share", "U", false, "")
	f.StringArrayP("option", "o", nil, "")
	f.Duration("timeout", 0, "")
	f.StringP("progress", "p", "", "")
	f.Lookup("progress").NoOptDefVal = "line"
	return f
}

func TestParseOptions(t *testing.T) {
	for _, test := range []struct {
		args string // separated by |
		want string // flags that were set, and the operands
	}{
		{"", "[]"},
		{"a|b", "[a b]"},
		{"-f|raw|a", "format=raw [a]"},
		{"-fraw|a", "format=raw [a]"},
		{"a|-f|raw|b", "format=raw [a b]"},
		{"a|-Oraw|-q", "output-format=raw quiet=true [a]"},
		{"-qU|a", "quiet=true share=true [a]"},
		{"-qfraw", "format=raw quiet=true []"},
		{"-qf|raw", "format=raw quiet=true []"},
		{"-f=raw", "format==raw []"},
		{"--format=raw", "format=raw []"},
		{"--format|raw", "format=raw []"},
		{"--format=", "format= []"},
		{"--form|raw", "format=raw []"},
		{"--qui", "quiet=true []"},
		{"--output|json", "output=json []"},
		{"--output-f|raw", "output-format=raw []"},
		{"-f|raw|-f|qcow2", "format=qcow2 []"},
		{"-o|a|-o|b", "option=[a,b] []"},
		{"-f|-q", "format=-q []"},
		{"-f|--", "format=-- []"},
		{"--|-f|raw", "[-f raw]"},
		{"a|--|-q", "[a -q]"},
		{"-", "[-]"},
		{"-p|a", "progress=line [a]"},
		{"-pq|a", "progress=line quiet=true [a]"},
		{"--progress|json", "progress=line [json]"},
		{"--progress=json", "progress=json []"},
		{"--prog=json", "progress=json []"},
		{"-n", "unrecognized option '-n'"},
		{"--bogus", "unrecognized option '--bogus'"},
		{"--bogus=1", "unrecognized option '--bogus=1'"},
		{"--quiet=1", "unrecognized option '--quiet=1'"},
		{"--out|x", "unrecognized option '--out'"},
		{"--=x", "unrecognized option '--=x'"},
		{"a|-f", "missing argument for option '-f'"},
		{"--format", "missing argument for option '--format'"},
		{"--timeout=x|-n", `time: invalid duration "x"`},
		{"-n|--timeout=x", "unrecognized option '-n'"},
	} {
		f := testFlags()
		var args []string
		if test.args != "" {
			args = strings.Split(test.args, "|")
		}
		operands, err := parseOptions(f, args, true)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			f.VisitAll(func(flag *pflag.Flag) {
				if flag.Changed {
					got += fmt.Sprintf("%s=%s ", flag.Name, flag.Value)
				}
			})
			got += fmt.Sprint(operands)
		}
		if sorted(got) != sorted(test.want) {
			t.Errorf("%q: %s, want %s", test.args, got, test.want)
		}
	}
}

// sorted makes the order of flags not matter.
func sorted(s string) string {
	fields := strings.Fields(s)
	slices.Sort(fields)
	return strings.Join(fields, " ")
}

// TestPosix: with POSIXLY_CORRECT the first operand ends the options.
func TestPosix(t *testing.T) {
	f := testFlags()
	operands, err := parseOptions(f, []string{"-q", "a", "-f", "raw"}, false)
	if err != nil || fmt.Sprint(operands) != "[a -f raw]" || f.Lookup("format").Changed || !f.Lookup("quiet").Changed {
		t.Errorf("%v, %v", operands, err)
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("-f|raw|--output=json|a|--|-q")
	f.Add("-qpU|--prog|-o|x|-oy|--form|z")
	f.Fuzz(func(t *testing.T, args string) {
		list := strings.Split(args, "|")
		operands, err := parseOptions(testFlags(), list, true)
		if err == nil && len(operands) > len(list) {
			t.Errorf("%d operands of %d arguments", len(operands), len(list))
		}
	})
}
