package vmdk

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"instar/disk"
)

// decode decodes qemu-img's JSON. The names of files lose their folders, and
// that of the image itself is left out.
func decode(t *testing.T, output string, v any) {
	t.Helper()
	var tree any
	if err := json.Unmarshal([]byte(output), &tree); err != nil {
		t.Fatal(err)
	}
	shorten(tree)
	output2, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(output2, v); err != nil {
		t.Fatal(err)
	}
}

func shorten(tree any) {
	switch tree := tree.(type) {
	case map[string]any:
		for key, v := range tree {
			if s, ok := v.(string); ok && key == "filename" {
				if tree[key] = filepath.Base(s); tree["format"] == "" {
					tree[key] = ""
				}
			}
			shorten(v)
		}
	case []any:
		for _, v := range tree {
			shorten(v)
		}
	}
}

// plain returns details as JSON would have them.
func plain(v any) any {
	switch v := v.(type) {
	case []disk.Detail:
		m := map[string]any{}
		for _, d := range v {
			m[d.Key] = plain(d.Value)
		}
		return m
	case []any:
		var l []any
		for _, e := range v {
			l = append(l, plain(e))
		}
		return l
	case int64:
		return float64(v)
	}
	return v
}
