package qcow2_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
	"instar/internal/testutil"
)

// plain turns details into what encoding/json decodes.
func plain(v any) any {
	switch v := v.(type) {
	case []disk.Detail:
		m := map[string]any{}
		for _, d := range v {
			m[d.Key] = plain(d.Value)
		}
		return m
	case []any:
		list := []any{}
		for _, e := range v {
			list = append(list, plain(e))
		}
		return list
	case int64:
		return float64(v)
	}
	return v
}

func TestDescriptionIsQemus(t *testing.T) {
	qemu := testutil.QemuImg(t)
	for _, tc := range []struct {
		name    string
		opts    string
		bitmaps [][]string
	}{
		{name: "default"},
		{name: "version 2", opts: "compat=0.10"},
		{name: "everything", opts: "cluster_size=128k,extended_l2=on,lazy_refcounts=on,refcount_bits=64,compression_type=zstd"},
		{name: "refcount 1", opts: "refcount_bits=1"},
		{name: "data file", opts: "data_file=apart.raw"},
		{name: "raw data file", opts: "data_file=apart.raw,data_file_raw=on"},
		{name: "bitmaps", bitmaps: [][]string{{"--add"}, {"--add", "--disable", "-g", "128k"}, {"--add", "--enable", "-g", "512"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "i.qcow2")
			args := []string{"create", "-q", "-f", "qcow2"}
			if tc.opts != "" {
				args = append(args, "-o", tc.opts)
			}
			t.Chdir(dir)
			testutil.Run(t, qemu, append(args, path, "10M")...)
			for i, b := range tc.bitmaps {
				testutil.Run(t, qemu, append(append([]string{"bitmap"}, b...), path, string(rune('a'+i)))...)
			}
			image, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			img, err := qcow2.Format.Open(disktest.File(image), disk.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var want struct {
				VirtualSize int64 `json:"virtual-size"`
				ClusterSize int64 `json:"cluster-size"`
				Dirty       bool  `json:"dirty-flag"`
				Specific    struct {
					Data any `json:"data"`
				} `json:"format-specific"`
			}
			if err := json.Unmarshal([]byte(testutil.Run(t, qemu, "info", "--output=json", path)), &want); err != nil {
				t.Fatal(err)
			}
			info := img.Info()
			if info.VirtualSize != want.VirtualSize || info.ClusterSize != want.ClusterSize || info.Dirty != want.Dirty {
				t.Errorf("size %d, cluster %d, dirty %v; want %+v", info.VirtualSize, info.ClusterSize, info.Dirty, want)
			}
			if diff := cmp.Diff(want.Specific.Data, plain(info.Details)); diff != "" {
				t.Errorf("details (-qemu-img +got):\n%s", diff)
			}
		})
	}
}
