package vpc

import (
	"testing"

	"pgregory.net/rapid"

	"instar/disk"
	"instar/disk/disktest"
)

// What qemu-img makes of a size. The geometry is that of the size that was
// found, which is not always the one that the specification has for it.
func TestGeometry(t *testing.T) {
	const gib = 1 << 30
	for _, tc := range []struct {
		size, virtual int64
		want          geometry
	}{
		{0, 0, geometry{}},
		{1, 34816, geometry{1, 4, 17}},
		{512, 34816, geometry{1, 4, 17}},
		{1000, 34816, geometry{1, 4, 17}},
		{1539, 34816, geometry{1, 4, 17}},
		{3000, 34816, geometry{1, 4, 17}},
		{34816, 34816, geometry{1, 4, 17}},
		{34817, 69632, geometry{2, 4, 17}},
		{65536, 69632, geometry{2, 4, 17}},
		{131072, 139264, geometry{4, 4, 17}},
		{262144, 278528, geometry{8, 4, 17}},
		{1048576, 1079296, geometry{31, 4, 17}},
		{35651584, 35686400, geometry{820, 5, 17}},
		{53426688, 53433856, geometry{877, 7, 17}}, // of 53433856 alone: 1023/6/17
		{1 * gib, 1073995776, geometry{2081, 16, 63}},
		{10 * gib, 10737893376, geometry{20806, 16, 63}},
		{127 * gib, 136365219840, geometry{65279, 16, 255}},
		{127*gib + gib/2, 136902082560, greatest},
		{136899993600, 136899993600, greatest},
		{136899993600 + 512, 136899993600 + 512, greatest},
		{128 * gib, 128 * gib, greatest},
		{200 * gib, 200 * gib, greatest},
		{2040 * gib, 2040 * gib, greatest},
	} {
		if g, size := creation(tc.size, false); g != tc.want || size != tc.virtual {
			t.Errorf("%d bytes: %v and %d bytes, want %v and %d", tc.size, g, size, tc.want, tc.virtual)
		}
		if g, size := creation(tc.size, true); g != greatest || size != (tc.size+511)/512*512 {
			t.Errorf("exactly %d bytes: %v and %d bytes", tc.size, g, size)
		}
	}
}

func TestGeometryEnclosesAllSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, maxSize).Draw(t, "size")
		g, virtual := creation(size, false)
		if virtual < size || virtual-size > 16*255*512 {
			t.Fatalf("%d bytes for %d", virtual, size)
		}
		if g != greatest && g.total()*512 != virtual {
			t.Fatalf("%d bytes with the geometry %v", virtual, g)
		}
	})
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int64
		values map[string]string
		want   string
	}{
		{"a large disk", maxSize + 512, nil, "Disk size is too large, max size is 2040 GiB"},
		{"a large disk of exact size", maxSize + 512, map[string]string{"force_size": "on"}, "Disk size is too large, max size is 2040 GiB"},
		{"subformat", 512, map[string]string{"subformat": "Fixed"}, "Parameter 'subformat' does not accept value 'Fixed'"},
		{"no subformat", 512, map[string]string{"subformat": ""}, "Parameter 'subformat' does not accept value ''"},
		{"force_size", 512, map[string]string{"force_size": "maybe", "subformat": "x"}, "Parameter 'force_size' expects 'on' or 'off'"},
		{"unknown option", 512, map[string]string{"foo": "1", "subformat": "x", "goo": "1"}, "Invalid parameter 'foo'"},
		{"an empty fixed disk", 0, map[string]string{"subformat": "fixed"}, "Error reading dynamic VHD header"},
	} {
		_, err := Format.Create(disktest.NewTarget(nil), tc.size, disk.WriterOptions{Values: tc.values})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format})
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: map[string]string{"force_size": "on"}})
	disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: map[string]string{"subformat": "fixed"}, NoDevice: true, NotEmpty: true})
}
