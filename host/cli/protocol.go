package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"instar/host/localfile"
	"instar/internal/safetext"
)

// Drivers of qemu's below the formats. What they show is a file or a device as
// it is: raw.
const (
	fileDriver   = "file"
	deviceDriver = "host_device"
)

func isDriver(format string) bool { return format == fileDriver || format == deviceDriver }

// opens returns why a driver below the formats does not open what stands under
// a name. Whether anything does is not looked at.
func opens(driver, name string) error {
	path, err := localfile.Path(name)
	if err != nil {
		return nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	switch device := st.Mode()&os.ModeDevice != 0; {
	case driver == fileDriver && device:
		return fmt.Errorf("'file' driver requires '%s' to be a regular file", safetext.Escape(path))
	case driver == deviceDriver && !device:
		return fmt.Errorf("'host_device' driver requires '%s' to be either a character or block device", safetext.Escape(path))
	}
	return nil
}

// openDriver checks that a driver below the formats can be what writes the
// output, which is there already or is to be made.
func (c *copying) openDriver(driver string, there bool) error {
	err := opens(driver, c.name)
	switch _, missing := os.Stat(c.name); {
	case there && err != nil:
		return couldNotOpen(c.given(), err.Error())
	case there, driver == fileDriver: // which makes files
		return nil
	case errors.Is(missing, fs.ErrNotExist):
		err = couldNotOpen(c.name, "No such file or directory")
	}
	if err == nil {
		return nil
	}
	return c.createError("Protocol driver 'host_device' does not support image creation, and opening the image failed: " + err.Error())
}
