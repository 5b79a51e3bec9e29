package cli

import (
	"fmt"
	"testing"

	"instar/internal/keyval"
)

func TestOptionsInJSON(t *testing.T) {
	for _, tc := range []struct{ text, want, err string }{
		{`{"driver":"raw","file":{"driver":"file","filename":"a"}}`, "[driver=raw file.driver=file file.filename=a]", ""},
		{` {"file.filename":"a","size":1024,"read-only":true,"force-share":false} `, "[file.filename=a force-share=off read-only=on size=1024]", ""},
		{`{"a":[1,{"b":"c"}],"d":null,"e":1.5e3}`, "[a.0=1 a.1.b=c e=1.5e3]", ""},
		{`{}`, "[]", ""},
		{``, "", "Could not parse the JSON options: Expecting a JSON value"},
		{`x`, "", "Could not parse the JSON options: JSON parse error"},
		{`{"a":`, "", "Could not parse the JSON options: JSON parse error"},
		{`{} x`, "", "Could not parse the JSON options: Expecting at most one JSON value"},
		{`[1]`, "", "Invalid JSON object given"},
		{`"a"`, "", "Invalid JSON object given"},
	} {
		list, err := optionsInJSON(tc.text)
		if err != nil {
			if err.Error() != tc.err {
				t.Errorf("%s: %v, want %s", tc.text, err, tc.err)
			}
			continue
		}
		if got := shown(list); got != tc.want || tc.err != "" {
			t.Errorf("%s: %s, want %s%s", tc.text, got, tc.want, tc.err)
		}
	}
}

func shown(list []keyval.Pair) string {
	var all []string
	for _, kv := range list {
		all = append(all, kv.Name+"="+kv.Value)
	}
	return fmt.Sprint(all)
}

// FuzzOptionsInJSON takes any text for the name of an image.
func FuzzOptionsInJSON(f *testing.F) {
	for _, text := range []string{`{"driver":"raw","file":{"driver":"file","filename":"a"}}`, `{"a":[1,{"b":null}]}`, `[`, `{}{}`, ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := optionsInJSON(text)
		if err != nil {
			return
		}
		for k, kv := range list {
			if kv.Bare {
				t.Fatalf("%q: option %d has no value", text, k)
			}
		}
	})
}
