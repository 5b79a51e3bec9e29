package lay

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"instar/internal/qemunum"
)

// CheckOptions looks for options (-o) that a format does not have, besides its
// own. Those of the file below it are known, and preallocation is checked: QEMU
// allocates the file by it while it is empty, and so it makes no difference.
func CheckOptions(values map[string]string, own ...string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch name {
		case "size", "nocow", "extent_size_hint", "preallocation":
		default:
			if !slices.Contains(own, name) {
				return fmt.Errorf("Invalid parameter '%s'", name) //nolint:staticcheck // qemu-img's text
			}
		}
	}
	switch v, given := values["preallocation"]; {
	case !given, v == "off", v == "falloc", v == "full":
		return nil
	case v == "metadata":
		return errors.New("Unsupported preallocation mode: metadata") //nolint:staticcheck // qemu-img's text
	default:
		return fmt.Errorf("invalid parameter value: %s", v)
	}
}

// SizeOption returns the value of an option in bytes, or missing.
func SizeOption(values map[string]string, name string, missing uint64) (uint64, error) {
	v, given := values[name]
	if !given {
		return missing, nil
	}
	n, err := qemunum.Parse(v)
	if err != nil {
		return 0, fmt.Errorf("Parameter '%s' expects a non-negative number below 2^64", name) //nolint:staticcheck // qemu-img's text
	}
	return n, nil
}

// BoolOption returns the value of an option that is on or off, or missing.
func BoolOption(values map[string]string, name string, missing bool) (bool, error) {
	switch v, given := values[name]; v {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	default:
		if given {
			return false, fmt.Errorf("Parameter '%s' expects 'on' or 'off'", name) //nolint:staticcheck // qemu-img's text
		}
		return missing, nil
	}
}
