package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"instar/internal/qemunum"
	"instar/internal/safetext"
)

// A file is what a configuration file may have in it. Its types check values
// as they are decoded, so that an error knows its line.
type file struct {
	Security struct {
		AllowPaths    []folder `toml:"allow-paths"`
		ImageDir      *bool    `toml:"image-dir"`
		MaxChainDepth *depth   `toml:"max-chain-depth"`
		AllowDataFile *bool    `toml:"allow-data-file"`
	} `toml:"security"`
	Sandbox struct {
		Wall    wall      `toml:"wall"`
		Memory  *size     `toml:"memory"`
		Timeout *duration `toml:"timeout"`
	} `toml:"sandbox"`
}

func (f *file) apply(c *Config) {
	for _, dir := range f.Security.AllowPaths {
		c.Security.AllowPaths = append(c.Security.AllowPaths, string(dir))
	}
	set(&c.Security.ImageDir, f.Security.ImageDir)
	set(&c.Security.MaxChainDepth, (*int)(f.Security.MaxChainDepth))
	set(&c.Security.AllowDataFile, f.Security.AllowDataFile)
	set(&c.Sandbox.Wall, string(f.Sandbox.Wall))
	set(&c.Sandbox.Memory, (*int64)(f.Sandbox.Memory))
	set(&c.Sandbox.Timeout, (*time.Duration)(f.Sandbox.Timeout))
}

// set sets *p to value unless that is zero.
func set[T comparable](p *T, value T) {
	var zero T
	if value != zero {
		*p = value
	}
}

// parse reads the text of a file.
func parse(text string) (*file, error) {
	f := new(file)
	meta, err := toml.Decode(text, f)
	if err != nil {
		return nil, located(err)
	}
	if keys := meta.Undecoded(); len(keys) > 0 {
		return nil, unknown(text, keys[0])
	}
	return f, nil
}

// located words an error of package toml.
func located(err error) error {
	why := strings.TrimPrefix(err.Error(), "toml: ")
	var p toml.ParseError
	if errors.As(err, &p) {
		if p.Message != "" {
			why = p.Message
		}
		if p.LastKey != "" {
			why = p.LastKey + ": " + why
		}
		why = fmt.Sprintf("line %d: %s", p.Position.Line, why)
	}
	return errors.New(safetext.Escape(why))
}

// unknown returns the error of a key that no file may have. Package toml tells
// the lines of values that cannot be decoded only, so this has it decode the
// text to a type that has that key, and no value for it.
func unknown(text string, key toml.Key) error {
	t := reflect.TypeFor[nothing]()
	for _, part := range slices.Backward(key) {
		t = reflect.StructOf([]reflect.StructField{{
			Name: "Field", Type: t, Tag: reflect.StructTag("toml:" + strconv.Quote(part)),
		}})
	}
	if _, err := toml.Decode(text, reflect.New(t).Interface()); err != nil {
		return located(err)
	}
	return errors.New(safetext.Escape(key.String()) + ": " + errUnknown.Error())
}

var errUnknown = errors.New("there is no such key")

// nothing is the type of what may not be there.
type nothing struct{}

func (*nothing) UnmarshalTOML(any) error { return errUnknown }

// A folder is an absolute path: a relative one would depend on where the
// program is started.
type folder string

func (f *folder) UnmarshalTOML(value any) error {
	s, ok := value.(string)
	if !ok || !filepath.IsAbs(s) {
		return fmt.Errorf("%#v is not an absolute path", value)
	}
	*f = folder(s)
	return nil
}

type depth int

func (d *depth) UnmarshalTOML(value any) error {
	n, ok := value.(int64)
	if !ok || n < 1 || n > MaxChainDepth {
		return fmt.Errorf("%#v is not a number from 1 to %d", value, MaxChainDepth)
	}
	*d = depth(n)
	return nil
}

type wall string

func (w *wall) UnmarshalTOML(value any) error {
	s, _ := value.(string)
	if !slices.Contains([]string{"auto", "kvm", "jail", "none"}, s) {
		return fmt.Errorf(`%#v is none of "auto", "kvm", "jail" and "none"`, value)
	}
	*w = wall(s)
	return nil
}

// A size is a number of bytes, or a string with a suffix as in "512M".
type size int64

func (s *size) UnmarshalTOML(value any) error {
	text, ok := value.(string)
	if n, isNumber := value.(int64); isNumber {
		text, ok = strconv.FormatInt(n, 10), true
	}
	n, err := qemunum.ParseBetween("size", text, 1, 1<<50)
	if !ok || err != nil {
		return fmt.Errorf(`%#v is not a size, as in "512M"`, value)
	}
	*s = size(n)
	return nil
}

type duration time.Duration

func (d *duration) UnmarshalTOML(value any) error {
	s, _ := value.(string)
	n, err := time.ParseDuration(s)
	if err != nil || n <= 0 {
		return fmt.Errorf(`%#v is not a duration, as in "30s"`, value)
	}
	*d = duration(n)
	return nil
}
