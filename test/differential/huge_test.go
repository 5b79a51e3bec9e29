package differential

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"instar/internal/program"
	"instar/internal/testutil"
)

// Disks of 3 TiB, and of as much as a VHD may have, with a little in them at the
// start, in the middle and at the end. None of them can be read within the time
// that a command may take: what is not stored costs nothing.
func TestHugeDisksAreWritten(t *testing.T) {
	qemuIO := testutil.Require(t, "qemu-io", "qemu-utils")
	w := newTwo(t, func(folder string) {
		m := maker{t: t, dir: folder}
		m.create("3T.qcow2", "3T")
		m.io("3T.qcow2", "write -P 1 0 100k", "write -P 2 1649267441664 70144", "write -P 3 3298534882816 512")
		m.create("2040G.qcow2", "2040G")
		m.io("2040G.qcow2", "write -P 1 0 100k", "write -P 2 1649267441664 70144", "write -P 3 2190433320448 512")
	})
	for _, line := range []string{
		"raw",
		"qcow2", "qcow2 -o cluster_size=4k", "qcow2 -o cluster_size=2M,extended_l2=on", "qcow2 -o compat=0.10", "qcow2 -c",
		"qcow2 -o preallocation=metadata,cluster_size=2M",
		"vmdk", "vmdk -o subformat=streamOptimized", "vmdk -o zeroed_grain=on", "vmdk -o subformat=monolithicFlat",
		"vmdk -o subformat=twoGbMaxExtentFlat", "vmdk -o subformat=twoGbMaxExtentSparse",
		"vpc", "vpc -o subformat=fixed", "vpc -o force_size=on",
		"vhdx", "vhdx -o block_size=1M", "vhdx -o subformat=fixed",
		"vdi", "vdi -o static=on",
		"qcow", "qcow -c", "qed", "qed -o cluster_size=32k", "parallels", "parallels -o cluster_size=64k",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			output := filepath.Join(folder, "out.img")
			input, size, last := "3T.qcow2", "3T", "3298534882816"
			format, options, _ := strings.Cut(line, " ")
			if format == "vpc" {
				input, size, last = "2040G.qcow2", "2040G", "2190433320448"
			}
			args := append([]string{"convert", "-O", format}, strings.Fields(options)...)
			program.MustRun(t, w.ours, nil, program.AsQemuImg(), append(args, input, output)...)
			program.MustRun(t, w.ours, nil, program.AsQemuImg(), "compare", "-F", format, input, output)
			program.MustRun(t, w.ours, nil, qemuIO, "-r", "-f", format, "-c", "read -P 1 0 100k", "-c", "read -P 0 100k 4M",
				"-c", "read -P 0 1649267437568 4096", "-c", "read -P 2 1649267441664 70144", "-c", "read -P 0 1649267511808 1M",
				"-c", "read -P 3 "+last+" 512", output)
			if strings.Contains(line, "twoGb") {
				return // QEMU takes long for 1536 files
			}
			theirs := filepath.Join(folder, "theirs.img")
			create := append([]string{"create", "-q", "-f", format}, strings.Fields(strings.TrimPrefix(options, "-c"))...)
			program.MustRun(t, folder, nil, w.qemuImg, append(create, theirs, size)...)
			if got, want := virtualSize(t, w.qemuImg, format, output), virtualSize(t, w.qemuImg, format, theirs); got != want {
				t.Errorf("it has %s bytes, qemu-img's has %s", got, want)
			}
			if libyal, pkg := libyalInfo(format); libyal != "" && !strings.Contains(line, "-c") && !strings.Contains(line, "extended_l2") {
				info := testutil.Run(t, testutil.Require(t, libyal, pkg), output)
				if want := virtualSize(t, w.qemuImg, format, theirs) + " bytes"; !strings.Contains(info, want) {
					t.Errorf("%s says %s, and not %s", libyal, info, want)
				}
			}
		})
	}
}

var sizeInInfo = regexp.MustCompile(`virtual size: .*\((\d+) bytes\)`)

// virtualSize returns what qemu-img says that the size of an image is, in bytes.
func virtualSize(t *testing.T, qemuImg, format, name string) string {
	t.Helper()
	info := testutil.Run(t, qemuImg, "info", "-f", format, name)
	m := sizeInInfo.FindStringSubmatch(info)
	if m == nil {
		t.Fatalf("no size in %s", info)
	}
	return m[1]
}

// libyalInfo returns the program of libyal's that knows a format, and its package.
func libyalInfo(format string) (name, pkg string) {
	switch format {
	case "vpc", "vhdx":
		return "vhdiinfo", "libvhdi-utils"
	case "vmdk":
		return "vmdkinfo", "libvmdk-utils"
	case "qcow2", "qcow":
		return "qcowinfo", "libqcow-utils"
	}
	return "", ""
}
