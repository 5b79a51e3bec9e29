package job

import (
	"reflect"
	"testing"
)

func TestExtraFiles(t *testing.T) {
	for _, test := range []struct {
		format  OutputFormat
		options map[string]string
		output  string
		size    int64
		want    []ExtraFile
	}{
		{Raw, nil, "x.raw", 1 << 20, nil},
		{VMDK, nil, "x.vmdk", 1 << 40, nil},
		{VMDK, map[string]string{"subformat": "monolithicFlat"}, "d.e/x", 1000, []ExtraFile{{"d.e/x-flat", "x-flat", 1024}}},
		{VMDK, map[string]string{"subformat": "monolithicFlat"}, "/d/a.b.img", 512, []ExtraFile{{"/d/a.b-flat.img", "a.b-flat.img", 512}}},
		{VMDK, map[string]string{"subformat": "twoGbMaxExtentFlat"}, ".hid", 2<<30 + 1, []ExtraFile{
			{"-f001.hid", "-f001.hid", 2 << 30},
			{"-f002.hid", "-f002.hid", 2 << 30},
		}},
		{VMDK, map[string]string{"subformat": "twoGbMaxExtentSparse"}, "x.vmdk", 2 << 30, []ExtraFile{{"x-s001.vmdk", "x-s001.vmdk", 2<<30 + 1<<20}}},
		{QCOW2, map[string]string{"data_file": "data/x"}, "d/x.qcow2", 1, []ExtraFile{{"data/x", "data/x", 2 << 20}}},
		{QCOW2, map[string]string{"cluster_size": "512"}, "d/x.qcow2", 1, nil},
	} {
		got, err := ExtraFiles(test.format, test.options, test.output, test.size)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s %v %q: %v, %v, want %v", test.format, test.options, test.output, got, err, test.want)
		}
	}
}

func TestExtraFilesAreBounded(t *testing.T) {
	split := map[string]string{"subformat": "twoGbMaxExtentFlat"}
	if files, err := ExtraFiles(VMDK, split, "x", MaxExtraFiles*VMDKSplit); err != nil || len(files) != MaxExtraFiles {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, size := range []int64{MaxExtraFiles*VMDKSplit + 1, 1<<63 - 1} {
		if files, err := ExtraFiles(VMDK, split, "x", size); err == nil {
			t.Errorf("%d bytes: %d files", size, len(files))
		}
	}
}
