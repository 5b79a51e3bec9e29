package all_test

import (
	"testing"

	"instar/disk"
	"instar/disk/all"
	"instar/disk/disktest"
)

func TestEveryFormatIsFoundByItsName(t *testing.T) {
	for _, name := range []string{"raw", "qcow2", "qcow", "vmdk", "vpc", "vhdx", "vdi", "parallels", "qed", "luks", "dmg"} {
		if f, err := all.Registry().Lookup(name); err != nil || f.Name != name || f.Open == nil {
			t.Errorf("Lookup(%q) = %q, %v", name, f.Name, err)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tc := range []struct{ name, head, want string }{
		{"nothing", "", "raw"},
		{"text", "It is only a text.", "raw"},
		{"qcow2", "QFI\xfb\x00\x00\x00\x03", "qcow2"},
		{"qcow2 of a version to come", "QFI\xfb\x00\x00\x00\x09", "qcow2"},
		{"first four bytes of qcow2", "QFI\xfb", "raw"},
		{"qcow2 at the second sector", string(make([]byte, disk.ProbeSize)) + "QFI\xfb\x00\x00\x00\x03", "raw"},
	} {
		f, err := all.Registry().Detect(disktest.File([]byte(tc.head)), "")
		if err != nil || f.Name != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.name, f.Name, err, tc.want)
		}
	}
}
