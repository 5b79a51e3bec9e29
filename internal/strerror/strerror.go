// Package strerror words system errors as the C library does, which is how
// qemu-img words them.
package strerror

import (
	"errors"
	"strings"
	"syscall"
)

// Text returns the C library's text of the system error behind err, as in "No
// such file or directory", and err's own text when there is none behind it.
func Text(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return Errno(errno)
	}
	return err.Error()
}

// Errno returns the C library's text of an error number. Go has the same texts
// without the capital.
func Errno(errno syscall.Errno) string {
	s := errno.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
