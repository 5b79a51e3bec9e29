package cli

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"instar/internal/safetext"
)

// A child is a file that an image is stored in, as qemu-img lists it since 8.0.
type child struct {
	name     string // "file", or that of an extent
	filename string
	protocol string // "file" or "host_device"
	length   int64  // bytes, rounded up to whole sectors
	taken    int64  // bytes that it takes
	hint     uint32 // extent size hint in bytes; 0 for none
}

// newChild describes an open file.
func newChild(name, filename string, f *os.File) (child, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return child{}, err
	}
	c := child{name: name, filename: filename, protocol: "file", length: st.Size, taken: st.Blocks * 512}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK || st.Mode&unix.S_IFMT == unix.S_IFCHR {
		c.protocol = "host_device"
		if end, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_END); err == nil {
			c.length = end
		}
	}
	c.length = (c.length + 511) / 512 * 512
	c.hint = extentSizeHint(f)
	return c, nil
}

// specific returns what the file system says of the file.
func (c *child) specific() object {
	if c.hint == 0 {
		return nil
	}
	return object{{"extent-size-hint", int64(c.hint)}}
}

// object returns the description as qemu-img's JSON has it.
func (c *child) object() object {
	return object{{"name", c.name}, {"info", object{
		{"children", []any{}},
		{"virtual-size", c.length},
		{"filename", c.filename},
		{"format", c.protocol},
		{"actual-size", c.taken},
		{"format-specific", object{{"type", "file"}, {"data", c.specific()}}},
		{"dirty-flag", false},
	}}}
}

// human returns the description as qemu-img prints it for people.
func (c *child) human() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Child node '/%s':\n", c.name)
	fmt.Fprintf(&b, "    filename: %s\n    protocol type: %s\n", safetext.Escape(c.filename), c.protocol)
	fmt.Fprintf(&b, "    file length: %s (%d bytes)\n    disk size: %s\n", sizeText(c.length), c.length, sizeText(c.taken))
	if specific := c.specific(); specific != nil {
		b.WriteString("    Format specific information:\n")
		detailText(&b, specific, 2)
	}
	return b.String()
}
