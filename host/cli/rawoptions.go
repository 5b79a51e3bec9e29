package cli

import (
	"errors"
	"fmt"
	"strings"

	"instar/internal/qemunum"
	"instar/internal/safetext"
)

// optionsValue is the flag -o, which may be repeated.
type optionsValue struct{ list []keyValue }

func (v *optionsValue) Set(s string) error {
	trailing := len(s) - len(strings.TrimRight(s, ","))
	if s == "" || s[0] == ',' || trailing%2 == 1 {
		return fmt.Errorf("Invalid option list: %s", safetext.Escape(s))
	}
	v.list = append(v.list, parseList(s)...)
	return nil
}
func (v *optionsValue) String() string { return "" }
func (v *optionsValue) Type() string   { return "options" }

// A parameterError says what is wrong with an option of a format, in qemu-img's
// words.
type parameterError struct{ text string }

func (e *parameterError) Error() string { return e.text }

func parameterErrorf(format string, args ...any) error {
	return &parameterError{fmt.Sprintf(format, args...)}
}

// rawOptions checks the options of a raw output and reports whether all of its
// space is to be allocated. The error is a *parameterError, or about making the
// output.
func rawOptions(options []keyValue) (allocate bool, err error) {
	preallocation := "off"
	for _, o := range options {
		o = o.boolean()
		name := safetext.Escape(o.name)
		switch o.name {
		case "preallocation":
			preallocation = o.value
		case "nocow": // a hint, as is the next
			if !isBool(o.value) {
				return false, parameterErrorf("Parameter '%s' expects 'on' or 'off'", name)
			}
		case "extent_size_hint", "size": // it is the source's size that counts
			_, err := qemunum.Parse(o.value)
			switch {
			case errors.Is(err, qemunum.ErrRange) && !strings.Contains(o.value, "-"):
				return false, parameterErrorf("Value '%s' is out of range for parameter '%s'", safetext.Escape(o.value), name)
			case err != nil:
				return false, parameterErrorf("Parameter '%s' expects a non-negative number below 2^64", name)
			}
		default:
			return false, parameterErrorf("Invalid parameter '%s'", name)
		}
	}
	switch preallocation {
	case "off":
		return false, nil
	case "falloc", "full":
		return true, nil
	case "metadata":
		return false, errors.New("Unsupported preallocation mode: metadata")
	}
	return false, fmt.Errorf("invalid parameter value: %s", safetext.Escape(preallocation))
}

// boolean gives an option without a value the one that it stands for: NAME is
// on, and noNAME is NAME off.
func (kv keyValue) boolean() keyValue {
	if !kv.bare {
		return kv
	}
	if name, ok := strings.CutPrefix(kv.name, "no"); ok {
		return keyValue{name: name, value: "off"}
	}
	return keyValue{name: kv.name, value: "on"}
}

// isBool reports whether s is one of the words that QEMU takes for on or off.
func isBool(s string) bool {
	switch s {
	case "on", "yes", "true", "y", "off", "no", "false", "n":
		return true
	}
	return false
}

// rawHelp is what -o help prints for a raw output, with the options of the file
// below it if that is named.
func rawHelp(named bool) string {
	if !named {
		return `Supported raw options:
  size=<size>            - Virtual disk size

The protocol level may support further options.
Specify the target filename to include those options.
`
	}
	return `Supported options:
  extent_size_hint=<size> - Extent size hint for the image file, 0 to disable
  nocow=<bool (on/off)>  - Turn off copy-on-write (valid only on btrfs)
  preallocation=<str>    - Preallocation mode (allowed values: off, falloc, full)
  size=<size>            - Virtual disk size
`
}
