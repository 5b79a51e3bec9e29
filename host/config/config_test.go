package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	system := write(t, "system", `
# For everybody.
[security]
allow-paths = ["/golden", "/srv/images"]
image-dir = false
allow-data-file = true
max-chain-depth = 4

[sandbox]
wall = "jail"
memory = 134217728
timeout = "90s"
`)
	user := write(t, "user", `
security.allow-paths = ["/home/me"]
security.image-dir = true
sandbox = { memory = "512M" }
`)
	yes, four, memory, timeout := true, 4, int64(512<<20), 90*time.Second
	want := Config{
		Security: Security{
			AllowPaths: []string{"/golden", "/srv/images", "/home/me"}, ImageDir: &yes, MaxChainDepth: &four, AllowDataFile: &yes,
		},
		Sandbox: Sandbox{Wall: "jail", Memory: &memory, Timeout: &timeout},
	}
	got, err := Load(system, filepath.Join(t.TempDir(), "none"), "/dev/null/none", user)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := Load(write(t, "empty", "")); err != nil || !cmp.Equal(got, Config{}) {
		t.Errorf("an empty file says %+v, %v", got, err)
	}
}

func TestBrokenFiles(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"[security\nx = 1", "line 2: "},
		{"\n\n[security]\nallow-paths = [\"/a\"\nimage-dir = true\n", "line 5: "},
		{"[security]\nallow-path = [\"/a\"]\n", "line 2: security.allow-path: there is no such key"},
		{"x = 1\n", "line 1: x: there is no such key"},
		{"\n[other]\nx = 1\n", "line 2: other: there is no such key"},
		{"[sandbox]\n\n\nsecurity.image-dir = true\n", "line 4: sandbox.security.image-dir: there is no such key"},
		{"[[security]]\nimage-dir = true\n", "line 1 "},
		{"security = 3\n", "line 1 "},
		{"[security]\n\nallow-paths = [\"/a\", \"b\"]\n", `line 3: security.allow-paths: "b" is not an absolute path`},
		{"[security]\nallow-paths = \"/a\"\n", "line 2 "},
		{"[security]\nallow-paths = [1]\n", "line 2: security.allow-paths: 1 is not an absolute path"},
		{"[security]\nimage-dir = \"yes\"\n", "line 2 "},
		{"[security]\nmax-chain-depth = 0\n", "line 2: security.max-chain-depth: 0 is not a number from 1 to 65536"},
		{"[security]\nmax-chain-depth = \"4\"\n", "line 2: "},
		{"[sandbox]\nwall = \"paper\"\n", `line 2: sandbox.wall: "paper" is none of "auto", "kvm", "jail" and "none"`},
		{"[sandbox]\nwall = \"\"\n", "line 2: "},
		{"[sandbox]\nmemory = \"much\"\n", `line 2: sandbox.memory: "much" is not a size, as in "512M"`},
		{"[sandbox]\nmemory = 0\n", "line 2: "},
		{"[sandbox]\nmemory = -1\n", "line 2: "},
		{"[sandbox]\nmemory = true\n", "line 2: "},
		{"[sandbox]\n# comment\ntimeout = 30\n", `line 3: sandbox.timeout: 30 is not a duration, as in "30s"`},
		{"[sandbox]\ntimeout = \"-1s\"\n", "line 2: "},
		{"[sandbox]\nwall = \"auto\"\nwall = \"kvm\"\n", "line 3: "},
		{"\"a\\u001b\" = 1\n", `line 1: "a\u001b": there is no such key`},
		{"x = \"\xff\"\n", "line 1: "},
		{"[sandbox.\"a,b\"]\n\"c\\\"d\" = 1\n", ""},
	} {
		name := write(t, "config.toml", test.text)
		_, err := Load(name)
		if err == nil {
			t.Errorf("%q: no error", test.text)
			continue
		}
		got, ok := strings.CutPrefix(err.Error(), "configuration file '"+name+"': ")
		if !ok || !strings.HasPrefix(got, test.want) || strings.ContainsAny(got, "\n\x1b") {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || err.Error() != "configuration file '"+dir+"': Is a directory" {
		t.Errorf("got %v", err)
	}
}

func TestFiles(t *testing.T) {
	const system = "/etc/instar/config.toml"
	for _, test := range []struct {
		env  map[string]string
		want []string
	}{
		{map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, []string{system, "/x/instar/config.toml"}},
		{map[string]string{"HOME": "/h"}, []string{system, "/h/.config/instar/config.toml"}},
		{map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "x"}, []string{system, "/h/.config/instar/config.toml"}},
		{map[string]string{"HOME": "h"}, []string{system}},
		{nil, []string{system}},
	} {
		if diff := cmp.Diff(test.want, Files(func(key string) string { return test.env[key] })); diff != "" {
			t.Errorf("%v: %s", test.env, diff)
		}
	}
}

// FuzzParse has any text be a configuration, or an error of one line.
func FuzzParse(f *testing.F) {
	f.Add("[security]\nallow-paths = [\"/a\"]\n[sandbox]\nmemory = \"1G\"\n")
	f.Add("[[a.b]]\n\"c,d\".'e' = {}\n")
	f.Add("a = [[]]\n[security.x]\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parse(text)
		if (got == nil) == (err == nil) {
			t.Errorf("got %v, %v", got, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("%q is not one line", err)
		}
	})
}
