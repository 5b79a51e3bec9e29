package qcow

import (
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format, NotEmpty: true})
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format, NotEmpty: true, Values: map[string]string{"backing_file": "below"}})
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		size   int64
		values map[string]string
		want   string
	}{
		{0, nil, "Image size is too small, cannot be zero length"},
		{1 << 50, nil, "Image too large"},
		{512, map[string]string{"encrypt.format": "luks"}, "Unsupported encryption format"},
		{512, map[string]string{"encryption": "on"}, "qcow images are not written encrypted (use qcow2 with encrypt.format=luks)"},
		{512, map[string]string{"encryption": "off", "cluster_size": "1"}, "Invalid parameter 'cluster_size'"},
	} {
		_, err := Format.Create(disktest.NewTarget(nil), tc.size, disk.WriterOptions{Values: tc.values})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%d bytes, %v: %v, want %s", tc.size, tc.values, err, tc.want)
		}
	}
}
