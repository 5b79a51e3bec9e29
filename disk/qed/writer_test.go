package qed

import (
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, values := range []map[string]string{
		nil,
		{"cluster_size": "4096", "table_size": "2"},
		{"cluster_size": "1048576", "table_size": "2"},
		{"cluster_size": "4096", "table_size": "16", "backing_file": "below", "backing_fmt": "raw"},
	} {
		disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: values})
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		size   int64
		values map[string]string
		want   string
	}{
		{512, map[string]string{"cluster_size": "2048", "table_size": "3"}, "QED cluster size must be within range [4096, 67108864] and power of 2"},
		{512, map[string]string{"cluster_size": "4097"}, "QED cluster size must be within range [4096, 67108864] and power of 2"},
		{512, map[string]string{"table_size": "3"}, "QED table size must be within range [1, 16] and power of 2"},
		{65 << 40, nil, "QED image size must be a non-zero multiple of cluster size and less than 70368744177664 bytes"},
		{512, map[string]string{"cluster_size": "67108864"}, "QED image size must be a non-zero multiple of cluster size and less than 0 bytes"},
		{512, map[string]string{"table_size": "1"}, "QED table offset is invalid"},
	} {
		_, err := Format.Create(disktest.NewTarget(nil), tc.size, disk.WriterOptions{Values: tc.values})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%d bytes, %v: %v, want %s", tc.size, tc.values, err, tc.want)
		}
	}
}
