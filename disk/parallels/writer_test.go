package parallels

import (
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, cluster := range []string{"512", "1536", "65536", "1048576"} {
		disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: map[string]string{"cluster_size": cluster}})
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		size    int64
		cluster string
		want    string
	}{
		{512, "0", "Image size is too large for this cluster size"},
		{512, "2147483647", "Cluster size is too large"},
		{512, "2147483646", "Invalid image: Too big cluster"},
		{1 << 40, "512", "Catalog too large"},
		{512, "x", "Parameter 'cluster_size' expects a non-negative number below 2^64"},
	} {
		_, err := Format.Create(disktest.NewTarget(nil), tc.size, disk.WriterOptions{Values: map[string]string{"cluster_size": tc.cluster}})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%d bytes in %s: %v, want %s", tc.size, tc.cluster, err, tc.want)
		}
	}
}
