package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryCommandHasAPage(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man")
	if err := run([]string{folder, "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"instar", "instar-dd", "instar-convert", "instar-create", "instar-compare", "instar-info", "instar-doctor"} {
		page, err := os.ReadFile(filepath.Join(folder, name+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, part := range []string{".TH", "instar 1.2.3", name} {
			if !strings.Contains(string(page), part) {
				t.Errorf("%s does not have %q", name, part)
			}
		}
	}
}

func TestArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {t.TempDir()}, {file, "1"}, {"a", "b", "c"}} {
		if err := run(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
