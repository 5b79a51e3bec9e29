package convert_test

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"instar/convert"
	"instar/disk"
	"instar/internal/testutil"
)

// thirdReaders are formats that neither this program nor QEMU has to vouch for
// alone, by 7-Zip's name.
var thirdReaders = map[string]string{"vpc": "VHD", "vhdx": "VHDX", "vdi": "VDI", "vmdk": "VMDK", "qcow": "QCOW"}

// TestWrittenIsReadBy7Zip: a reader that has nothing to do with QEMU finds the
// same content.
func TestWrittenIsReadBy7Zip(t *testing.T) {
	sevenZip := testutil.Require(t, "7z", "p7zip-full")
	knows := testutil.Run(t, sevenZip, "i")
	for format, theirName := range thirdReaders {
		if !strings.Contains(knows, " "+theirName+" ") {
			t.Logf("this 7-Zip does not know %s", theirName)
			continue
		}
		sets := slices.Clone(written[format])
		if format == "vhdx" {
			sets = append(sets, "subformat=fixed")
		}
		for _, set := range sets {
			if set == "subformat=streamOptimized" {
				continue // 7-Zip wants a footer, which QEMU's have not either
			}
			for _, shape := range slices.Sorted(maps.Keys(shapes)) {
				for _, dense := range []bool{false, true} {
					content := shapes[shape]()
					if len(content) == 0 || (format == "vhdx" && len(wholeSectors(content))%1024 > 0) {
						continue // there is nothing to extract; 7-Zip takes no odd number of sectors
					}
					name := write(t, format, content, convert.Execution{SkipZeros: !dense, Options: disk.WriterOptions{Values: optionSet(set)}})
					got, err := exec.Command(sevenZip, "x", "-so", "-t"+theirName, name).Output()
					if err != nil {
						t.Errorf("%s, %q, %s: %v", format, set, shape, err)
					} else if err := same(got, content); err != nil {
						t.Errorf("%s, %q, %s: %v", format, set, shape, err)
					}
				}
			}
		}
	}
}

// TestWrittenIsKnownToLibvhdi: libyal's reader agrees about size and kind.
func TestWrittenIsKnownToLibvhdi(t *testing.T) {
	vhdiinfo := testutil.Require(t, "vhdiinfo", "libvhdi-utils")
	for _, test := range []struct{ format, set, kind, size string }{
		{"vpc", "", "Dynamic", "(9469952 bytes)"},
		{"vpc", "force_size=on", "Dynamic", "(9437184 bytes)"},
		{"vpc", "subformat=fixed", "Fixed", "(9469952 bytes)"},
		{"vhdx", "", "Dynamic", "(9437184 bytes)"},
		{"vhdx", "block_size=1M,log_size=3M,block_state_zero=off", "Dynamic", "(9437184 bytes)"},
		{"vhdx", "subformat=fixed", "Fixed", "(9437184 bytes)"},
	} {
		name := write(t, test.format, shapes["sparse"](), convert.Execution{SkipZeros: true, Options: disk.WriterOptions{Values: optionSet(test.set)}})
		if out := testutil.Run(t, vhdiinfo, name); !strings.Contains(out, test.kind) || !strings.Contains(out, test.size) {
			t.Errorf("%s, %q: %s", test.format, test.set, out)
		}
	}
}

// TestWrittenQcow2IsReadBy7Zip: as above, for the sets of options that 7-Zip
// knows, compressed as well.
func TestWrittenQcow2IsReadBy7Zip(t *testing.T) {
	sevenZip := testutil.Require(t, "7z", "p7zip-full")
	if !strings.Contains(testutil.Run(t, sevenZip, "i"), " QCOW ") {
		t.Skip("this 7-Zip does not know qcow2")
	}
	for _, set := range written["qcow2"] {
		if strings.Contains(set, "extended_l2") || strings.Contains(set, "zstd") {
			continue
		}
		for _, shape := range slices.Sorted(maps.Keys(shapes)) {
			for _, how := range []string{"sparse", "dense", "compressed"} {
				content := shapes[shape]()
				if len(content) == 0 || how == "compressed" && strings.Contains(set, "preallocation") {
					continue
				}
				name := write(t, "qcow2", content, convert.Execution{
					SkipZeros: how != "dense", Options: disk.WriterOptions{Values: optionSet(set), Compress: how == "compressed"},
				})
				got, err := exec.Command(sevenZip, "x", "-so", "-tQCOW", name).Output()
				if err != nil {
					t.Errorf("%q, %s, %s: %v", set, shape, how, err)
				} else if err := same(got, content); err != nil {
					t.Errorf("%q, %s, %s: %v", set, shape, how, err)
				}
			}
		}
	}
}
