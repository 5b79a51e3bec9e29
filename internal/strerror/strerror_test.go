package strerror

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestText(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{syscall.ENOENT, "No such file or directory"},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EISDIR}, "Is a directory"},
		{fmt.Errorf("write: %w", syscall.ENOSPC), "No space left on device"},
		{syscall.EFBIG, "File too large"},
		{syscall.EIO, "Input/output error"},
		{syscall.EAGAIN, "Resource temporarily unavailable"},
		{syscall.Errno(4000), "Errno 4000"},
		{errors.New("as it is"), "as it is"},
	} {
		if got := Text(test.err); got != test.want {
			t.Errorf("Text(%v) = %q, want %q", test.err, got, test.want)
		}
	}
}
