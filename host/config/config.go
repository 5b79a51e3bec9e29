// Package config reads the configuration files. Flags override what they say;
// a file that is there must be right.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"instar/internal/strerror"
)

// SystemFile is read first.
const SystemFile = "/etc/instar/config.toml"

// MaxChainDepth bounds what max-chain-depth may be set to.
const MaxChainDepth = 1 << 16

// A Config is what the files say. A field that is nil or empty is what none of
// them says.
type Config struct {
	Security Security
	Sandbox  Sandbox
}

// Security says which of the names in images are followed: see chain.Policy.
type Security struct {
	// AllowPaths are absolute. The lists of all files are joined.
	AllowPaths    []string
	ImageDir      *bool
	MaxChainDepth *int // 1 to MaxChainDepth
	AllowDataFile *bool
}

// Sandbox says how the worker is walled in: see sandbox.Options.
type Sandbox struct {
	Wall    string         // auto, kvm, jail or none
	Memory  *int64         // bytes, at least 1
	Timeout *time.Duration // of each job, more than 0
}

// Files returns the names of the files, whether they exist or not, in the
// order in which they are read: the system's, and the user's, which is in
// $XDG_CONFIG_HOME or else $HOME/.config.
func Files(getenv func(string) string) []string {
	files := []string{SystemFile}
	dir := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // a relative one does not count (XDG Base Directory Specification)
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return files
		}
		dir = filepath.Join(home, ".config")
	}
	return append(files, filepath.Join(dir, "instar", "config.toml"))
}

// Load reads files in order; what a later one says overrides what an earlier
// one said. One that does not exist says nothing. One that cannot be read, or
// is not right, is an error that names it and the line.
func Load(files ...string) (Config, error) {
	var c Config
	for _, name := range files {
		text, err := os.ReadFile(name)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			continue
		case err != nil:
			return Config{}, fmt.Errorf("configuration file '%s': %s", name, strerror.Text(err))
		}
		f, err := parse(string(text))
		if err != nil {
			return Config{}, fmt.Errorf("configuration file '%s': %w", name, err)
		}
		f.apply(&c)
	}
	return c, nil
}
