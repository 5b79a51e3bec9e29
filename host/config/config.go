// Package config reads the configuration files. What they say, flags may
// override; a file that is there must be right.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"instar/internal/qemunum"
	"instar/internal/safetext"
	"instar/internal/strerror"
)

// SystemFile is read first.
const SystemFile = "/etc/instar/config.toml"

// A Config is what the files say. A nil pointer, an empty string or an empty
// list is what none of them says.
type Config struct {
	Security Security
	Sandbox  Sandbox
}

// Security is what images may name: see chain.Policy.
type Security struct {
	// AllowPaths are folders, absolute. The lists of all files are joined.
	AllowPaths []string
	// ImageDir lets images name files in their own folder.
	ImageDir      *bool
	MaxChainDepth *int
	AllowDataFile *bool
}

// Sandbox is how the worker is walled in: see sandbox.Options.
type Sandbox struct {
	Wall    string
	Memory  *int64 // bytes
	Timeout *time.Duration
}

// Files returns the files that are read, in order, those that do not exist
// included: the system's, and the user's in $XDG_CONFIG_HOME, which is
// $HOME/.config unless set.
func Files(getenv func(string) string) []string {
	files := []string{SystemFile}
	dir := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the specification has relative ones ignored
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return files
		}
		dir = filepath.Join(home, ".config")
	}
	return append(files, filepath.Join(dir, "instar", "config.toml"))
}

// Load reads the files in order; what a later one says holds. A file that does
// not exist says nothing; one that cannot be read or is not right is an error
// that names it and, where there is one, the line.
func Load(files ...string) (Config, error) {
	var c Config
	for _, name := range files {
		if err := c.load(name); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

// file mirrors what is in a file.
type file struct {
	Security struct {
		AllowPaths    []string `toml:"allow-paths"`
		ImageDir      *bool    `toml:"image-dir"`
		MaxChainDepth *int     `toml:"max-chain-depth"`
		AllowDataFile *bool    `toml:"allow-data-file"`
	} `toml:"security"`
	Sandbox struct {
		Wall    *string `toml:"wall"`
		Memory  *string `toml:"memory"`
		Timeout *string `toml:"timeout"`
	} `toml:"sandbox"`
}

func (c *Config) load(name string) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("configuration file '%s': %s", name, strerror.Text(err))
	}
	var f file
	meta, err := toml.Decode(string(text), &f)
	if err != nil {
		return broken(name, text, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("configuration file '%s': line %d: unknown key '%s'",
			name, lineOf(string(text), unknown[0]), safetext.Escape(unknown[0].String()))
	}
	if key, err := c.merge(&f); err != nil {
		return fmt.Errorf("configuration file '%s': line %d: %s: %w", name, lineOf(string(text), key), key, err)
	}
	return nil
}

// broken words what the TOML library found.
func broken(name string, text []byte, err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		line := 1 + strings.Count(string(text[:min(parse.Position.Start, len(text))]), "\n")
		why := parse.Message
		if why == "" {
			why = err.Error()
		}
		return fmt.Errorf("configuration file '%s': line %d: %s", name, line, safetext.Escape(why))
	}
	return fmt.Errorf("configuration file '%s': %s", name, safetext.Escape(strings.TrimPrefix(err.Error(), "toml: ")))
}

// merge adds what f says, and returns the key that is wrong.
func (c *Config) merge(f *file) (toml.Key, error) {
	for _, dir := range f.Security.AllowPaths {
		if !filepath.IsAbs(dir) {
			return toml.Key{"security", "allow-paths"}, fmt.Errorf("'%s' is not an absolute path", safetext.Escape(dir))
		}
	}
	c.Security.AllowPaths = append(c.Security.AllowPaths, f.Security.AllowPaths...)
	override(&c.Security.ImageDir, f.Security.ImageDir)
	override(&c.Security.AllowDataFile, f.Security.AllowDataFile)
	if n := f.Security.MaxChainDepth; n != nil {
		if *n < 1 {
			return toml.Key{"security", "max-chain-depth"}, fmt.Errorf("%d is less than 1", *n)
		}
		c.Security.MaxChainDepth = n
	}
	return c.mergeSandbox(f)
}

func (c *Config) mergeSandbox(f *file) (toml.Key, error) {
	if s := f.Sandbox.Wall; s != nil {
		switch *s {
		case "auto", "kvm", "jail", "none":
			c.Sandbox.Wall = *s
		default:
			return toml.Key{"sandbox", "wall"}, fmt.Errorf("'%s' is none of auto, kvm, jail and none", safetext.Escape(*s))
		}
	}
	if s := f.Sandbox.Memory; s != nil {
		n, err := qemunum.ParseBetween("memory", *s, 1, 1<<40)
		if err != nil {
			return toml.Key{"sandbox", "memory"}, err
		}
		c.Sandbox.Memory = &n
	}
	if s := f.Sandbox.Timeout; s != nil {
		d, err := time.ParseDuration(*s)
		if err == nil && d < 0 {
			err = errors.New("it is negative")
		}
		if err != nil {
			return toml.Key{"sandbox", "timeout"}, err
		}
		c.Sandbox.Timeout = &d
	}
	return nil, nil
}

func override[T any](p **T, value *T) {
	if value != nil {
		*p = value
	}
}

// lineOf returns the line that a key is on: the one that begins with its last
// part, after the header of its table.
func lineOf(text string, key toml.Key) int {
	table, found := "", 1
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			table = strings.Trim(line, "[] ")
			if table == key.String() {
				return i + 1
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		name = strings.Trim(strings.TrimSpace(name), `"'`)
		full := name
		if table != "" {
			full = table + "." + name
		}
		if ok && full == key.String() {
			found = i + 1
			return found
		}
	}
	return found
}
