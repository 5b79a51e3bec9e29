package job

import (
	"fmt"
	"math"
)

// An OutputFormat is a format that can be written.
type OutputFormat string

// The formats that can be written.
const (
	Raw OutputFormat = "raw"
)

// knownFormats are the formats that qemu-img can write, by its names: asking
// for one that is not implemented is not the same as asking for nonsense.
var knownFormats = map[string]bool{
	"raw": true, "qcow2": true, "vmdk": true, "vpc": true, "vhdx": true,
	"vdi": true, "qcow": true, "qed": true, "parallels": true, "luks": true,
}

// An UnknownFormatError says that there is no format of that name.
type UnknownFormatError struct{ Name string }

func (e *UnknownFormatError) Error() string { return fmt.Sprintf("unknown file format %q", e.Name) }

// A NotSupportedYetError names a format that exists, and that this version
// cannot write.
type NotSupportedYetError struct{ Format string }

func (e *NotSupportedYetError) Error() string {
	return fmt.Sprintf("writing format '%s' is not supported yet", e.Format)
}

// ParseOutputFormat returns the output format of that name, as qemu-img's -O
// spells it (case-sensitive). The error is an *UnknownFormatError or a
// *NotSupportedYetError.
func ParseOutputFormat(name string) (OutputFormat, error) {
	switch {
	case name == string(Raw):
		return Raw, nil
	case knownFormats[name]:
		return "", &NotSupportedYetError{Format: name}
	}
	return "", &UnknownFormatError{Name: name}
}

// OutputCapacity returns the length in bytes up to which an image of that
// format and virtual size (bytes) may be written: the ceiling of the output's
// grant. It saturates at the greatest file offset.
func OutputCapacity(f OutputFormat, virtualSize int64) int64 {
	switch f {
	case Raw:
		return roundUp(virtualSize, 512)
	}
	return 0
}

func roundUp(n, unit int64) int64 {
	if n > math.MaxInt64-(unit-1) {
		return math.MaxInt64
	}
	return (n + unit - 1) / unit * unit
}
