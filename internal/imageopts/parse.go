package imageopts

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"instar/internal/keyval"
	"instar/internal/qemunum"
	"instar/internal/safetext"
)

// A ParameterError says what is wrong with an option, in qemu-img's words.
type ParameterError struct {
	Text string
	Hint string // lines to print behind it; "" is none
}

func (e *ParameterError) Error() string { return e.Text }

const sizeHint = "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.\n"

// CheckList says whether a list of options is one: qemu-img takes no empty ones,
// since it strings several together.
func CheckList(s string) error {
	trailing := len(s) - len(strings.TrimRight(s, ","))
	if s == "" || s[0] == ',' || trailing%2 == 1 {
		return fmt.Errorf("Invalid option list: %s", safetext.Escape(s)) //nolint:staticcheck // qemu-img's text
	}
	return nil
}

// Values are the options that were given for an image of a format.
type Values struct {
	format  string
	options []Option
	given   map[string]value
}

// A value is one as it was given, and as a writer reads it.
type value struct{ text, plain string }

// Parse reads the options of a format: of those with the same name, the last
// counts. The error is a *ParameterError about the first that is wrong.
func Parse(format string, list []keyval.Pair) (*Values, error) {
	v := &Values{format: format, options: Of(format), given: map[string]value{}}
	for _, p := range list {
		p = p.Boolean()
		if err := v.Set(p.Name, p.Value); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// ParseMap is Parse for options by name; of several errors, that about the first
// name is returned, and before it one about a name that is none.
func ParseMap(format string, values map[string]string) (*Values, error) {
	v := &Values{format: format, options: Of(format), given: map[string]value{}}
	names := slices.Sorted(maps.Keys(values))
	for _, name := range names {
		if find(v.options, name) == nil {
			return nil, unknownParameter(name)
		}
	}
	for _, name := range names {
		if err := v.Set(name, values[name]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func unknownParameter(name string) *ParameterError {
	return &ParameterError{Text: fmt.Sprintf("Invalid parameter '%s'", safetext.Escape(name))}
}

// Set gives an option a value, in place of the one that it has. The error is a
// *ParameterError.
func (v *Values) Set(name, text string) error {
	o := find(v.options, name)
	if o == nil {
		return unknownParameter(name)
	}
	plain, err := o.parse(text)
	if err != nil {
		return err
	}
	v.given[name] = value{text, plain}
	return nil
}

// Get returns the value of an option: for a size or number in decimal, for a
// boolean on or off. ok is false when it was not given.
func (v *Values) Get(name string) (plain string, ok bool) {
	given, ok := v.given[name]
	return given.plain, ok
}

// Number returns the value of a size or number, 0 when it was not given.
func (v *Values) Number(name string) uint64 {
	n, _ := strconv.ParseUint(v.given[name].plain, 10, 64)
	return n
}

// ownPreallocation are formats whose writers see to the option of the file below.
var ownPreallocation = map[string]bool{raw: true, luks: true}

// NumberOr is Number with another value for what was not given.
func (v *Values) NumberOr(name string, missing uint64) uint64 {
	if _, given := v.given[name]; !given {
		return missing
	}
	return v.Number(name)
}

// On reports whether a boolean is on; missing is for what was not given.
func (v *Values) On(name string, missing bool) bool {
	if plain, given := v.Get(name); given {
		return plain == "on"
	}
	return missing
}

// Own returns what is for the format's writer: the values that were given, but
// for the size and for what concerns the file below. A raw image is its file, and
// a LUKS container is as good as one.
func (v *Values) Own() map[string]string {
	m := map[string]string{}
	for name, given := range v.given {
		if name != size.Name && (Has(v.format, name) || name == "preallocation" && ownPreallocation[v.format]) {
			m[name] = given.plain
		}
	}
	return m
}

// CheckFile says what is wrong with the options of the file below an image, in
// the words of qemu-img, which finds it when it makes that file.
func (v *Values) CheckFile() error {
	const maxHint = 1<<32 - 1 // fsx_extsize has 32 bits
	if mode, ok := v.Get("preallocation"); ok && !Has(v.format, "preallocation") {
		switch mode {
		case "off", "falloc", "full":
		case "metadata":
			if v.format == luks { // which has none
				break
			}
			return errors.New("Unsupported preallocation mode: metadata") //nolint:staticcheck // qemu-img's text
		default:
			return fmt.Errorf("invalid parameter value: %s", safetext.Escape(mode))
		}
	}
	if v.Number("extent_size_hint") > maxHint {
		return errors.New("Extent size hint is too large") //nolint:staticcheck // qemu-img's text
	}
	return nil
}

// String lists the options as qemu-img does when it creates an image: those that
// were given or have a default, each behind a blank.
func (v *Values) String() string {
	var b strings.Builder
	for _, o := range v.options {
		text := o.Default
		if given, ok := v.given[o.Name]; ok {
			text = given.shown(o.Type)
		} else if text == "" {
			continue
		}
		fmt.Fprintf(&b, " %s=%s", o.Name, text)
	}
	return b.String()
}

// shown returns a value as the list of a new image's options has it.
func (v value) shown(t Type) string {
	switch t {
	case Size, Number:
		n, _ := strconv.ParseUint(v.plain, 10, 64)
		return strconv.FormatInt(int64(n), 10)
	}
	return safetext.Escape(keyval.Escape(v.text))
}

// parse checks that a text is of the option's type.
func (o *Option) parse(text string) (plain string, err error) {
	switch o.Type {
	case Bool:
		switch text {
		case "on", "yes", "true", "y":
			return "on", nil
		case "off", "no", "false", "n":
			return "off", nil
		}
		return "", &ParameterError{Text: fmt.Sprintf("Parameter '%s' expects 'on' or 'off'", o.Name)}
	case Number:
		n, err := number(text)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return "", &ParameterError{Text: fmt.Sprintf("Value '%s' is too large for parameter '%s'", safetext.Escape(text), o.Name)}
		case err != nil:
			return "", &ParameterError{Text: fmt.Sprintf("Parameter '%s' expects a number", o.Name)}
		}
		return strconv.FormatUint(n, 10), nil
	case Size:
		n, err := qemunum.Parse(text)
		if err != nil {
			return "", SizeError(o.Name, text, err)
		}
		return strconv.FormatUint(n, 10), nil
	}
	return text, nil
}

// SizeError says of the value of an option why package qemunum does not take it
// for a size.
func SizeError(name, text string, err error) *ParameterError {
	if errors.Is(err, qemunum.ErrRange) {
		return &ParameterError{Text: fmt.Sprintf("Value '%s' is out of range for parameter '%s'", safetext.Escape(text), name)}
	}
	return &ParameterError{Text: fmt.Sprintf("Parameter '%s' expects a non-negative number below 2^64", name), Hint: sizeHint}
}

// number reads what strtoull reads, to whom -1 is the greatest number.
func number(text string) (uint64, error) {
	body := strings.TrimLeft(text, " \t\n\v\f\r")
	negative := strings.HasPrefix(body, "-")
	if negative || strings.HasPrefix(body, "+") {
		body = body[1:]
	}
	base, digits := 10, "0123456789"
	switch {
	case len(body) > 2 && body[0] == '0' && body[1]|0x20 == 'x':
		base, digits, body = 16, "0123456789abcdefABCDEF", body[2:]
	case len(body) > 1 && body[0] == '0':
		base, digits, body = 8, "01234567", body[1:]
	}
	if strings.Trim(body, digits) != "" {
		return 0, strconv.ErrSyntax // ParseUint would find it too large first
	}
	n, err := strconv.ParseUint(body, base, 64)
	if negative {
		n = -n
	}
	return n, err
}
