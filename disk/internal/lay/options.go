package lay

import "instar/internal/imageopts"

// Options reads the options (-o) that the writer of a format is handed. Those of
// the file below the image are checked: QEMU allocates that by them while it is
// empty, and so they make no difference.
func Options(format string, values map[string]string) (*imageopts.Values, error) {
	v, err := imageopts.ParseMap(format, values)
	if err != nil {
		return nil, err
	}
	return v, v.CheckFile()
}
