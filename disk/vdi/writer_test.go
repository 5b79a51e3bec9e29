package vdi

import (
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format})
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: map[string]string{"static": "on"}})
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		size   int64
		values map[string]string
		want   string
	}{
		{maxSize + 512, nil, "Unsupported VDI image size (size is 0x1fffff8000200, max supported is 0x1fffff8000000)"},
		{512, map[string]string{"static": "maybe"}, "Parameter 'static' expects 'on' or 'off'"},
		{512, map[string]string{"foo": "1", "goo": "1", "static": "maybe"}, "Invalid parameter 'foo'"},
		{512, map[string]string{"preallocation": "metadata"}, "Unsupported preallocation mode: metadata"},
	} {
		_, err := Format.Create(disktest.NewTarget(nil), tc.size, disk.WriterOptions{Values: tc.values})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%d bytes, %v: %v, want %s", tc.size, tc.values, err, tc.want)
		}
	}
}
