package hostile

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// vmdk returns a sparse extent of 1 MiB: header, descriptor, grain directory at
// sector 21, grain table at 22, and a grain of data at 128.
func vmdk() *file {
	f := new(file)
	f.text(0, "KDMV")
	f.le32(4, 1)
	f.le32(8, 1)
	f.le64(12, 2048)
	f.le64(20, 128)
	f.le64(28, 1)
	f.le64(36, 20)
	f.le32(44, 512)
	f.le64(56, 21)
	f.le64(64, 128)
	f.text(73, "\n \r\n")
	f.text(512, descriptor("monolithicSparse", `RW 2048 SPARSE "image"`))
	f.le32(21*512, 22)
	f.le32(22*512, 128)
	f.fill(128*512, 64<<10, 0x42)
	return f
}

func descriptor(kind string, lines ...string) string {
	return "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"" + kind + "\"\n" + strings.Join(lines, "\n") + "\n"
}

func vmdkAttacks() {
	patch := func(name string, patch func(f *file)) {
		add("vmdk/"+name, func(d *folder) {
			f := vmdk()
			patch(f)
			d.write("image", *f)
		})
	}
	text := func(name string, content string) {
		add("vmdk/"+name, func(d *folder) { d.write("image", []byte(content)); d.write("flat", make([]byte, 1<<20)) })
	}
	for _, n := range []int{4, 64, 511, 512, 21 * 512, 22*512 + 2, 128*512 + 1} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, v := range []uint64{0, 1, 129, 1<<21 + 1, 1 << 22, 1 << 31, 1<<32 - 1, 1 << 54, 1<<55 - 1, 1 << 55, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for _, field := range []struct {
			name string
			at   int
		}{{"capacity", 12}, {"grain", 20}, {"descriptor", 28}, {"descriptor-size", 36}, {"directory", 56}, {"overhead", 64}} {
			patch(fmt.Sprintf("%s-%#x", field.name, v), func(f *file) { f.le64(field.at, v) })
		}
	}
	for _, v := range []uint32{0, 1, 513, 1 << 16, 1 << 31, 1<<32 - 1} {
		patch(fmt.Sprintf("table-entries-%#x", v), func(f *file) { f.le32(44, v) })
		patch(fmt.Sprintf("directory-entry-%#x", v), func(f *file) { f.le32(21*512, v) })
		patch(fmt.Sprintf("table-entry-%#x", v), func(f *file) { f.le32(22*512, v) })
	}
	patch("version-4", func(f *file) { f.le32(4, 4) })
	patch("compression-9", func(f *file) { f.le16(77, 9) })
	patch("capacity-0-elsewhere", func(f *file) {
		f.le64(12, 0)
		f.text(512, descriptor("monolithicFlat", `RW 1 FLAT "/etc/passwd" 0`)+"\x00")
	})
	patch("table-is-directory", func(f *file) { f.le32(21*512, 21) })
	patch("grain-is-header", func(f *file) { f.le32(22*512, 0x15) })
	patch("footer-missing", func(f *file) { f.le64(56, 1<<64-1) })
	patch("footer-lies", func(f *file) { // it overrides the header
		f.le64(56, 1<<64-1)
		at := len(*f)
		f.le32(at+12, 3)
		f.put(at+512, (*f)[:512])
		f.le64(at+512+12, 1<<54)
		f.le64(at+512+56, 21)
		f.at(at+1024, 512)
	})
	compressed := func(name string, size uint32, p []byte) {
		patch("stream-"+name, func(f *file) {
			f.le32(8, 3<<16|1)
			f.le16(77, 1)
			f.le64(128*512, 0)
			f.le32(128*512+8, size)
			f.put(128*512+12, p)
		})
	}
	zlib := func(p []byte) []byte { return append([]byte{0x78, 0x9c}, deflated(p)...) }
	compressed("garbage", 100, []byte("garbage"))
	compressed("size-0", 0, nil)
	compressed("size-huge", 1<<32-1, zlib(make([]byte, 64<<10)))
	compressed("size-past-end", 1<<20, zlib(make([]byte, 64<<10)))
	compressed("bomb", uint32(len(zlib(make([]byte, 32<<20)))), zlib(make([]byte, 32<<20)))
	add("vmdk/stream-size-misses-marker", func(d *folder) { // the marker's length ends with the file, the data 12 bytes behind it
		f := vmdk()
		f.le32(8, 3<<16|1)
		f.le16(77, 1)
		p := zlib([]byte(strings.Repeat("0123456789abcdef", 4096)))
		f.cut(128 * 512)
		f.le32(128*512+8, uint32(len(p)))
		f.put(128*512+12, p[:len(p)-12])
		d.write("image", *f)
	})

	for kind := range names(new(folder)) {
		if kind == "nul" {
			continue
		}
		for _, extent := range []string{"FLAT", "SPARSE", "VMFS"} {
			add("vmdk/"+strings.ToLower(extent)+"-"+kind, func(d *folder) {
				offset := ""
				if extent == "FLAT" {
					offset = " 0"
				}
				d.write("image", []byte(descriptor("twoGbMaxExtentFlat", fmt.Sprintf("RW 2048 %s \"%s\"%s", extent, names(d)[kind], offset))))
			})
		}
		add("vmdk/parent-"+kind, func(d *folder) {
			s := strings.Replace(descriptor("monolithicFlat", `RW 2048 FLAT "flat" 0`, fmt.Sprintf(`parentFileNameHint="%s"`, names(d)[kind])), "ffffffff", "12345678", 1)
			d.write("image", []byte(s))
			d.write("flat", make([]byte, 1<<20))
		})
	}
	text("no-extents", descriptor("monolithicFlat"))
	text("create-type-unknown", descriptor("custom\x1b[31m", `RW 2048 FLAT "flat" 0`))
	text("nul", "# Disk DescriptorFile\n\x00\x00\x00createType=\"monolithicFlat\"\nRW 2048 FLAT \"/etc/passwd\" 0\n")
	text("nul-in-name", descriptor("monolithicFlat", "RW 2048 FLAT \"flat\x00/etc/passwd\" 0"))
	text("size-0", descriptor("monolithicFlat", `RW 0 FLAT "flat" 0`))
	text("size-negative", descriptor("monolithicFlat", `RW -2048 FLAT "flat" 0`))
	text("size-2-54", descriptor("monolithicFlat", `RW 18014398509481984 FLAT "flat" 0`))
	text("size-2-64", descriptor("monolithicFlat", `RW 18446744073709551616 FLAT "flat" 0`))
	text("sizes-overflow", descriptor("twoGbMaxExtentFlat", `RW 9007199254740992 FLAT "flat" 0`, `RW 9007199254740992 FLAT "flat" 0`, `RW 9007199254740992 FLAT "flat" 0`))
	text("zero-2-53", descriptor("custom", `RW 9007199254740992 ZERO`))
	text("offset-past-end", descriptor("monolithicFlat", `RW 2048 FLAT "flat" 4096`))
	text("offset-2-63", descriptor("monolithicFlat", `RW 2048 FLAT "flat" 9223372036854775807`))
	text("offset-missing", descriptor("monolithicFlat", `RW 2048 FLAT "flat"`))
	text("quote-missing", descriptor("monolithicFlat", `RW 2048 FLAT "flat 0`))
	text("line-long", descriptor("monolithicFlat", "x="+strings.Repeat("y", 1<<19)))
	text("huge", descriptor("monolithicFlat", strings.Repeat("# comment\n", 300<<10)))
	text("flood-of-extents", descriptor("twoGbMaxExtentFlat", strings.Repeat("RW 1 FLAT \"flat\" 0\n", 40000)))
	text("flood-of-files", descriptor("twoGbMaxExtentFlat", flood(3000)...))
	text("flood-of-keys", descriptor("monolithicFlat", strings.Repeat("createType=\"monolithicFlat\"\n", 20000)))
	text("crlf-and-tabs", strings.ReplaceAll(descriptor("monolithicFlat", "RW\t2048\tFLAT\t\"/etc/passwd\"\t0"), "\n", "\r\n"))

	for _, v := range []uint32{0, 1 << 25, 1 << 31, 1<<32 - 1} {
		for _, field := range []struct {
			name string
			at   int
		}{{"sectors", 12}, {"granularity", 16}, {"l1-offset", 20}, {"l1-entries", 24}} {
			add(fmt.Sprintf("vmdk/esx-%s-%#x", field.name, v), func(d *folder) {
				f := new(file)
				f.text(0, "COWD")
				f.le32(4, 1)
				f.le32(8, 3)
				f.le32(12, 2048)
				f.le32(16, 1)
				f.le32(20, 4)
				f.le32(24, 1)
				f.le32(4*512, 5)
				f.at(0, 64<<10)
				f.le32(field.at, v)
				d.write("image", *f)
			})
		}
	}
	add("vmdk/sesparse-garbage", func(d *folder) {
		d.write("image", []byte(descriptor("seSparse", `RW 2048 SESPARSE "flat"`)))
		f := new(file)
		binary.LittleEndian.PutUint64(f.at(0, 8), 0xcafebabe)
		for k := 1; k < 64; k++ {
			f.le64(8*k, 1<<64-1)
		}
		d.write("flat", *f)
	})
}

func flood(n int) []string {
	var lines []string
	for k := range n {
		lines = append(lines, fmt.Sprintf(`RW 1 FLAT "f%d" 0`, k))
	}
	return lines
}
