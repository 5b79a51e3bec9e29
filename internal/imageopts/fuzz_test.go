package imageopts

import (
	"errors"
	"testing"

	"instar/internal/keyval"
)

// FuzzParse reads any list of options for every format: what is wrong is said
// as a *ParameterError, and what went through as a boolean is on or off.
func FuzzParse(f *testing.F) {
	f.Add("cluster_size=64k,compat=0.10,lazy_refcounts,nopreallocation")
	f.Add("subformat=streamOptimized,adapter_type=lsilogic,hwversion=4")
	f.Add("block_size=1M,log_size=1M,size=1E,size=1.5G")
	f.Add("encrypt.format=luks,encrypt.iter-time=18446744073709551616")
	f.Add("backing_file=a,,b,backing_fmt=raw")
	f.Fuzz(func(t *testing.T, text string) {
		list := keyval.Parse(text)
		_ = CheckList(text)
		for _, format := range Formats {
			v, err := Parse(format, list)
			if err != nil {
				if wrong := new(ParameterError); !errors.As(err, &wrong) || wrong.Text == "" {
					t.Fatalf("%s: %v", format, err)
				}
				continue
			}
			for name := range v.given {
				o := find(v.options, name)
				if o == nil {
					t.Fatalf("%s has no option %q", format, name)
				}
				if plain, ok := v.Get(name); ok && o.Type == Bool && plain != "on" && plain != "off" {
					t.Fatalf("%s: %s is %q", format, name, plain)
				}
			}
			_, _ = v.String(), v.CheckFile()
		}
	})
}
