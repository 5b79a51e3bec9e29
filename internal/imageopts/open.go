package imageopts

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"instar/internal/safetext"
)

// Options by which an image is opened (--image-opts) that make no difference
// here: it is decided elsewhere how files are locked, read and written.
var (
	openAny = []Option{
		{Name: "auto-read-only", Type: Bool},
		{Name: "cache.no-flush", Type: Bool},
		{Name: "detect-zeroes", Type: String, Values: []string{"off", "on", "unmap"}},
		{Name: "discard", Type: String, Values: []string{"ignore", "off", "unmap", "on"}},
		{Name: "node-name", Type: String},
	}
	openFile = []Option{
		{Name: "aio", Type: String, Values: []string{"threads", "native", "io_uring"}},
		{Name: "aio-max-batch", Type: Number},
		{Name: "drop-cache", Type: Bool},
		{Name: "locking", Type: String, Values: []string{"on", "off", "auto"}},
	}
	openQcow2 = []Option{
		{Name: "cache-clean-interval", Type: Number},
		{Name: "cache-size", Type: Size},
		{Name: "discard-no-unref", Type: Bool},
		{Name: "l2-cache-entry-size", Type: Size},
		{Name: "l2-cache-size", Type: Size},
		{Name: "lazy-refcounts", Type: Bool},
		{Name: "overlap-check", Type: String, Values: []string{"none", "constant", "cached", "all"}},
		{Name: "pass-discard-other", Type: Bool},
		{Name: "pass-discard-request", Type: Bool},
		{Name: "pass-discard-snapshot", Type: Bool},
		{Name: "refcount-cache-size", Type: Size},
	}
)

var nodeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

// CheckOpen checks an option by which an image is opened, of a driver that may
// not have been said. known is false for one that is not here. The error is in
// qemu-img's words, a *ParameterError perhaps.
func CheckOpen(driver, name, value string) (known bool, err error) {
	plain, below := strings.CutPrefix(name, "file.")
	options := openAny
	switch {
	case below:
		options = slices.Concat(openAny, openFile)
	case driver == qcow2 || driver == "":
		options = slices.Concat(openAny, openQcow2)
	}
	o := find(options, plain)
	if o == nil {
		return false, nil
	}
	switch bad := len(o.Values) > 0 && !slices.Contains(o.Values, value); {
	case bad && plain == "discard":
		return true, errors.New("Invalid discard option") //nolint:staticcheck // qemu-img's text
	case bad && plain == "overlap-check":
		return true, fmt.Errorf("Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any of the following: %s", //nolint:staticcheck // qemu-img's text
			safetext.Escape(value), strings.Join(o.Values, ", "))
	case bad:
		return true, fmt.Errorf("invalid parameter value: %s", safetext.Escape(value))
	case plain == "node-name" && !nodeName.MatchString(value):
		return true, fmt.Errorf("Invalid node-name: '%s'", safetext.Escape(value)) //nolint:staticcheck // qemu-img's text
	}
	_, err = o.parse(value)
	return true, err
}
