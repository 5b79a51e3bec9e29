package job

import (
	"fmt"
	"path/filepath"
	"strings"
)

// MaxExtraFiles bounds the files that an output consists of besides the one
// that it is named by: 3.5 TiB in files of 2 GiB. The worker has a descriptor
// of each, or two (see wall.MaxDescriptors).
const MaxExtraFiles = 1792

// An ExtraFile is a file that an output consists of besides the one that it is
// named by.
type ExtraFile struct {
	Path    string // where it is
	Name    string // what the image calls it
	Ceiling int64  // the length in bytes up to which it may be written
}

// VMDKSplit is how much of a disk an extent of a split vmdk image has, in bytes.
const VMDKSplit = 2 << 30

// ExtraFiles returns the extra files, in order, of an output of that format,
// with the format's own options (-o), of that name and virtual size in bytes.
// Most have none.
func ExtraFiles(f OutputFormat, options map[string]string, output string, virtualSize int64) ([]ExtraFile, error) {
	size := roundUp(virtualSize, 512)
	switch {
	case f == QCOW2 && options["data_file"] != "":
		// As qemu-img does, the name is that of a file here, not beside the image.
		name := options["data_file"]
		return []ExtraFile{{Path: name, Name: name, Ceiling: roundUp(size, 2<<20)}}, nil
	case f == VMDK:
		return vmdkFiles(options["subformat"], output, size)
	}
	return nil, nil
}

// vmdkFiles are the extents of a vmdk image, which lie beside it.
func vmdkFiles(subformat, output string, size int64) ([]ExtraFile, error) {
	dir, base := filepath.Split(output)
	ext := filepath.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	file := func(mark string, ceiling int64) ExtraFile {
		name := stem + mark + ext
		return ExtraFile{Path: dir + name, Name: name, Ceiling: ceiling}
	}
	letter, more := "f", int64(0)
	switch subformat {
	case "monolithicFlat":
		return []ExtraFile{file("-flat", size)}, nil
	case "twoGbMaxExtentFlat":
	case "twoGbMaxExtentSparse":
		letter, more = "s", 1<<20 // tables of 260 KiB, twice, and less than a grain
	default:
		return nil, nil
	}
	n := (size + VMDKSplit - 1) / VMDKSplit
	if size > MaxExtraFiles*VMDKSplit {
		return nil, fmt.Errorf("an image of %d files is more than the %d that are supported", n, MaxExtraFiles)
	}
	files := make([]ExtraFile, n)
	for i := range files {
		files[i] = file(fmt.Sprintf("-%s%03d", letter, i+1), VMDKSplit+more)
	}
	return files, nil
}
