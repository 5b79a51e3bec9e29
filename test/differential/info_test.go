package differential

import (
	"encoding/json"
	"testing"

	"instar/internal/program"
)

// info prints what qemu-img prints, as far as qemu-img prints it: its lines
// are all there, and so are its JSON fields, with equal values.
func TestInfoSaysWhatQemuImgSays(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, input := range append(rawInputs, qcow2Inputs...) {
		w.compare(t, "info", input)
		theirs := program.MustRun(t, w.theirs, nil, w.qemuImg, "info", "--output=json", input)
		ours := program.MustRun(t, w.ours, w.env, program.AsQemuImg(), "info", "--output=json", input)
		var want, got any
		if err := json.Unmarshal([]byte(theirs.Stdout), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(ours.Stdout), &got); err != nil {
			t.Errorf("info --output=json %s: %v\n%s", input, err, ours.Stdout)
			continue
		}
		if field := missing(want, got, ""); field != "" {
			t.Errorf("info --output=json %s: %s\nours   %s\ntheirs %s", input, field, ours.Stdout, theirs.Stdout)
		}
	}
}

// missing returns the first part of want that got does not have, "" for none.
func missing(want, got any, at string) string {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		for key, value := range want {
			member, ok := object[key]
			if !ok {
				return at + "." + key + " is missing"
			}
			if field := missing(value, member, at+"."+key); field != "" {
				return field
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return at + " is no list of the same length"
		}
		for i := range want {
			if field := missing(want[i], list[i], at+"[]"); field != "" {
				return field
			}
		}
	default:
		if got != want {
			return at + " differs"
		}
	}
	return ""
}

func TestInfoFailsAsQemuImgDoes(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, args := range [][]string{
		{"nope.raw"},
		{""},
		{"."},
		{"-f", "bogus", "pattern.raw"},
		{"-f", "qcow2", "pattern.raw"},
		{"--output", "yaml", "pattern.raw"},
	} {
		w.compare(t, append([]string{"info"}, args...)...)
	}
}
