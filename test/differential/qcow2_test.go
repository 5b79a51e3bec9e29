package differential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A qcow2 output is qemu-img's, byte for byte, with every layout that the
// options ask for, and so are the errors about them.
func TestQcow2OutputIsTheSame(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, options := range []string{
		"cluster_size=512,refcount_bits=64",
		"cluster_size=2k,refcount_bits=1,preallocation=metadata",
		"extended_l2=on,cluster_size=16k",
		"compat=v2,preallocation=falloc",
		"preallocation=full,lazy_refcounts",
		"cluster_size=3,extended_l2=on,compat=0.10",
		"cluster_size=3,refcount_bits=3,preallocation=x",
		"backing_fmt=raw,cluster_size=3",
		"backing_fmt=raw,refcount_bits=3",
		"backing_fmt=x,compat=x",
		"compression_type=foo,preallocation=foo",
		"compression_type=foo,refcount_bits=3",
		"refcount_bits=-1,lazy_refcounts=on,compat=0.10",
		"refcount_bits=8,compat=0.10,compression_type=zstd",
		"data_file_raw=on,compression_type=zstd,compat=0.10",
	} {
		for _, input := range []string{"pattern.raw", "text.raw", "order.qcow2", "odd.raw"} {
			w.compare(t, "convert", "-O", "qcow2", "-o", options, input, "out")
		}
	}
}

// An external data file has what qemu-img puts into it, and the image the tables.
func TestQcow2DataFileIsTheSame(t *testing.T) {
	t.Parallel()
	w := newTwo(t, nil)
	for _, options := range []string{
		"data_file=df",
		"data_file=df,data_file_raw=on",
		"data_file=df,preallocation=metadata",
		"data_file=df,preallocation=full,cluster_size=4k",
		"data_file=df,extended_l2=on",
		"data_file=df,data_file_raw=on,extended_l2=on,cluster_size=16k",
		"data_file=df,cluster_size=512,refcount_bits=64",
	} {
		for _, input := range []string{"pattern.raw", "text.raw", "odd.raw"} {
			w.compare(t, "convert", "-O", "qcow2", "-o", options, input, "out")
			var data [2]string
			for i, dir := range []string{w.ours, w.theirs} {
				p, err := os.ReadFile(filepath.Join(dir, "df"))
				if err != nil {
					t.Fatal(err)
				}
				data[i] = string(p)
			}
			if data[0] != data[1] {
				t.Errorf("%s of %s: the data file differs", options, input)
			}
		}
	}
	w.compare(t, strings.Fields("convert -O qcow2 -o data_file=df,compat=0.10 odd.raw out")...)
}

// Of a large and almost empty disk the same clusters are stored.
func TestQcow2OfALargeDiskIsTheSame(t *testing.T) {
	t.Parallel()
	w := newTwo(t, func(dir string) {
		f, err := os.Create(filepath.Join(dir, "large.raw"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, off := range []int64{0, 5<<30 + 12345, 1 << 40, 3<<40 - 4096} {
			if _, err := f.WriteAt([]byte("something that is stored"), off); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(3 << 40); err != nil {
			t.Fatal(err)
		}
	})
	for _, options := range []string{"cluster_size=64k", "cluster_size=2M,refcount_bits=1", "cluster_size=16k,extended_l2=on,refcount_bits=64", "cluster_size=512"} {
		w.compare(t, "convert", "-O", "qcow2", "-o", options, "large.raw", "out")
	}
}
