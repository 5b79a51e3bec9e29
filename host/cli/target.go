package cli

import (
	"bytes"
	"errors"
	"fmt"

	"instar/internal/imageopts"
	"instar/internal/keyval"
	"instar/internal/safetext"
)

// optionsValue is the flag -o, which may be repeated.
type optionsValue struct{ list []keyval.Pair }

func (v *optionsValue) Set(s string) error {
	if err := imageopts.CheckList(s); err != nil {
		return err
	}
	v.list = append(v.list, keyval.Parse(s)...)
	return nil
}
func (v *optionsValue) String() string { return "" }
func (v *optionsValue) Type() string   { return "options" }

// optionHelp lists the options of an output format; named says that the output
// is, too.
func optionHelp(format string, named bool) error {
	switch {
	case readOnlyFormats[format]:
		return noCreation(format)
	case imageopts.Of(format) == nil:
		return fmt.Errorf("Unknown file format '%s'", safetext.Escape(format))
	}
	return &helpError{imageopts.Help(format, named)}
}

func noCreation(format string) error {
	return fmt.Errorf("Format driver '%s' does not support image creation", format)
}

// parseOptions reads the options of the output.
func (c *copying) parseOptions(list []keyval.Pair) error {
	var err error
	c.values, err = imageopts.Parse(string(c.format), list)
	return parameterHint(err)
}

// useOptions hands the options on to the format's writer, which checks what they
// mean. The error is about making the output.
func (c *copying) useOptions() error {
	if err := c.values.CheckFile(); err != nil {
		return c.createError(err.Error())
	}
	if name, given := c.values.Get("data_file"); given && name == "" {
		return c.createError("Could not create '': No such file or directory")
	}
	own := c.values.Own()
	for _, name := range []string{"encrypt.key-secret", "key-secret"} {
		id, given := own[name]
		if !given || (name == "encrypt.key-secret" && !c.encrypts()) {
			continue
		}
		secret, ok := c.settings.secrets[id]
		if !ok {
			return c.createError(fmt.Sprintf("No secret with id '%s'", safetext.Escape(id)))
		}
		c.execution.Output.Secret = bytes.Clone(secret)
	}
	c.execution.Output.Options = own
	return nil
}

// noBacking says that a format has no place for a backing file, or for its
// format.
func (c *copying) noBacking(file, format bool) error {
	switch {
	case file && !imageopts.Has(string(c.format), "backing_file"):
		return fmt.Errorf("Backing file not supported for file format '%s'", c.format)
	case format && !imageopts.Has(string(c.format), "backing_fmt"):
		return fmt.Errorf("Backing file format not supported for file format '%s'", c.format)
	}
	return nil
}

// encrypts reports whether the options say how the output is encrypted.
func (c *copying) encrypts() bool {
	_, encrypted := c.values.Get("encrypt.format")
	old, _ := c.values.Get("encryption")
	return encrypted || old == "on"
}

// canCompress says that a format cannot be compressed, if -c asks for it.
func (c *copying) canCompress(asked bool) error {
	if asked && !c.format.Compresses() {
		return errors.New("Compression not supported for this file format")
	}
	if asked && c.encrypts() {
		return errors.New("Compression and encryption not supported at the same time")
	}
	if mode, given := c.values.Get("preallocation"); asked && given && mode != "off" {
		return errors.New("Compression and preallocation not supported at the same time")
	}
	return nil
}
