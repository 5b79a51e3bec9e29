package lay

import (
	"errors"
	"syscall"
	"testing"

	"instar/disk"
)

// A full target has no room for zeros.
type full struct {
	disk.Target
	err error
}

func (f full) Zero(int64, int64) error { return f.err }

func TestPreallocate(t *testing.T) {
	for _, test := range []struct {
		mode string
		err  error
		want string
	}{
		{"falloc", nil, ""},
		{"falloc", syscall.ENOSPC, "Could not preallocate new data: No space left on device"},
		{"full", syscall.EDQUOT, "Could not write zeros for preallocation: Disk quota exceeded"},
	} {
		err := Preallocate(full{err: test.err}, test.mode, 0, 1)
		if got := errorText(err); got != test.want {
			t.Errorf("%s: %q, want %q", test.mode, got, test.want)
		}
		if !errors.Is(err, test.err) {
			t.Errorf("%s: the reason is lost in %v", test.mode, err)
		}
	}
	if err := Preallocate(full{err: errors.ErrUnsupported}, "full", 0, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
