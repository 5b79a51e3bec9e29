package hostile

import (
	"fmt"
	"strings"
)

const cluster = 64 << 10

// qcow2 returns an image of 1 MiB with one cluster of data, its parts in the
// clusters header, refcount table, refcount block, L1, L2, data.
func qcow2() *file {
	f := new(file)
	f.text(0, "QFI\xfb")
	f.be32(4, 3)
	f.be32(20, 16)
	f.be64(24, 1<<20)
	f.be32(36, 1)
	f.be64(40, 3*cluster)
	f.be64(48, 1*cluster)
	f.be32(56, 1)
	f.be32(96, 4)
	f.be32(100, 104)
	f.be64(1*cluster, 2*cluster)
	for k := range 6 {
		f.be16(2*cluster+2*k, 1)
	}
	f.be64(3*cluster, 4*cluster|1<<63)
	f.be64(4*cluster, 5*cluster|1<<63)
	f.fill(5*cluster, cluster, 0x41)
	return f
}

// backed has the image stand on a file of that name.
func backed(f *file, name string) *file {
	f.be64(8, 512)
	f.be32(16, uint32(len(name)))
	f.text(512, name)
	return f
}

// extension appends a header extension, at an offset.
func (f *file) extension(at int, kind uint32, length int, content []byte) {
	f.be32(at, kind)
	f.be32(at+4, uint32(length))
	f.put(at+8, content)
}

// packed has a cluster stored compressed, behind the end of the file.
func (f *file) packed(index int, p []byte) {
	at := len(*f)
	f.put(at, p)
	f.at(at, (len(p)+511)/512*512+512)
	sectors := uint64(at%512+len(p)-1) / 512
	f.be64(4*cluster+8*index, 1<<62|sectors<<54|uint64(at))
}

func qcow2Attacks() {
	patch := func(name string, patch func(f *file)) {
		add("qcow2/"+name, func(d *folder) {
			f := qcow2()
			patch(f)
			d.write("image", *f)
		})
	}
	for _, n := range []int{4, 8, 12, 71, 72, 100, 103, 104, cluster, 3 * cluster, 4*cluster + 4, 5*cluster + 1} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, field := range []struct {
		name   string
		at     int
		values []uint32
	}{
		{"version", 4, []uint32{0, 4, 1 << 31}},
		{"cluster-bits", 20, []uint32{0, 8, 9, 21, 22, 31, 63, 64, 1<<32 - 1}},
		{"crypt", 32, []uint32{1, 2, 3, 1<<32 - 1}},
		{"l1-size", 36, []uint32{0, 2, 1 << 22, 1<<22 + 1, 1 << 28, 1 << 29, 1 << 31, 1<<32 - 1}},
		{"refcount-clusters", 56, []uint32{0, 1<<10 + 1, 1 << 31, 1<<32 - 1}},
		{"snapshots", 60, []uint32{1, 65536, 65537, 1 << 31, 1<<32 - 1}},
		{"refcount-order", 96, []uint32{0, 6, 7, 31, 255, 1 << 31}},
		{"header-length", 100, []uint32{0, 8, 72, 103, 105, 112, cluster, cluster + 8, 1 << 31, 1<<32 - 1}},
	} {
		for _, v := range field.values {
			patch(fmt.Sprintf("%s-%#x", field.name, v), func(f *file) { f.be32(field.at, v) })
		}
	}
	for _, field := range []struct {
		name string
		at   int
	}{{"l1-offset", 40}, {"refcount-offset", 48}, {"l1-entry", 3 * cluster}, {"l2-entry", 4 * cluster}, {"incompatible", 72}} {
		for _, v := range []uint64{0, 1, 2, 512, cluster, 3 * cluster, 1 << 40, 1 << 55, 1 << 56, 1<<62 - cluster, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - cluster, 1<<64 - 1} {
			patch(fmt.Sprintf("%s-%#x", field.name, v), func(f *file) { f.be64(field.at, v) })
		}
	}
	for name, size := range edges {
		patch("size-"+name, func(f *file) { f.be64(24, size) })
		// An L1 table that is as long as clusters of 2 MiB need, as far as may be.
		patch("size-fit-"+name, func(f *file) {
			f.be64(24, size)
			f.be32(20, 21)
			f.be32(36, uint32(min(size>>39+1, 1<<22)))
			f.be64(40, 2<<21)
			f.be64(48, 1<<21)
			f.be64(1<<21, 0)
			f.cut(5 * cluster)
			f.be64(2<<21, 3<<21)
			f.be64(3<<21, 0)
		})
	}
	for k := 9; k < 64; k++ {
		for _, around := range []int64{-1, 0, 1} {
			size := uint64(int64(1)<<k + around)
			patch(fmt.Sprintf("size-power-%d%+d", k, around), func(f *file) { f.be64(24, size) })
		}
	}
	for _, n := range []int{12, 48, 71} { // of a header of version 2, which has 72 bytes
		patch(fmt.Sprintf("version-2-cut-%d", n), func(f *file) { f.be32(4, 2); f.cut(n) })
	}
	patch("l1-is-l1-entry", func(f *file) { f.be64(3*cluster, 3*cluster|1<<63) })
	patch("l2-is-header", func(f *file) { f.be64(3*cluster, 0|1<<63) })
	patch("tables-are-one", func(f *file) { f.be64(40, 4*cluster); f.be64(48, 4*cluster); f.be64(4*cluster, 4*cluster|1<<63) })
	patch("refcounts-lie", func(f *file) { f.fill(2*cluster, cluster, 0) })
	patch("refcounts-are-data", func(f *file) { f.be64(1*cluster, 5*cluster) })
	patch("data-is-l2", func(f *file) { f.be64(4*cluster, 4*cluster|1<<63) })
	patch("aliases", func(f *file) {
		f.be64(24, 64<<20)
		for k := range 1024 {
			f.be64(4*cluster+8*k, 5*cluster|1<<63)
		}
	})
	patch("aliases-million", func(f *file) { // each L1 entry leads to the same table
		f.be64(24, 64<<30)
		f.be32(36, 128)
		for k := range 128 {
			f.be64(3*cluster+8*k, 4*cluster|1<<63)
		}
		for k := range cluster / 8 {
			f.be64(4*cluster+8*k, 5*cluster|1<<63)
		}
	})
	patch("deflate-bomb", func(f *file) {
		bomb := deflated(make([]byte, 64<<20))
		f.packed(0, bomb)
		entry := (*f)[4*cluster:][:8]
		f.be64(24, 64<<20)
		for k := range 1024 {
			f.put(4*cluster+8*k, entry)
		}
	})
	patch("zstd-bomb", func(f *file) {
		f.be64(72, 1<<3)
		f.be32(100, 112)
		f.at(104, 1)[0] = 1
		f.packed(0, zstded(make([]byte, 512<<20)))
	})
	patch("zstd-window", func(f *file) { // a frame that asks for a window of 2 GiB
		f.be64(72, 1<<3)
		f.be32(100, 112)
		f.at(104, 1)[0] = 1
		f.packed(0, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00})
	})
	patch("deflate-garbage", func(f *file) { f.packed(0, []byte(strings.Repeat("garbage", 200))) })
	patch("deflate-past-end", func(f *file) { f.be64(4*cluster, 1<<62|255<<54|1<<40) })
	patch("compression-type-7", func(f *file) { f.be64(72, 1<<3); f.be32(100, 112); f.at(104, 1)[0] = 7 })
	patch("compression-type-unsaid", func(f *file) { f.be32(100, 112); f.at(104, 1)[0] = 1 })
	patch("subclusters-tiny", func(f *file) { f.be64(72, 1<<4); f.be32(20, 9) })
	patch("subclusters-both", func(f *file) { f.be64(72, 1<<4); f.be64(4*cluster+8, 1<<64-1) })
	patch("corrupt-bit", func(f *file) { f.be64(72, 2) })
	patch("dirty-bit", func(f *file) { f.be64(72, 1) })
	patch("luks-without-header", func(f *file) { f.be32(32, 2) })
	patch("luks-header-past-end", func(f *file) { f.be32(32, 2); f.extension(104, 0x0537be77, 16, []byte{0: 0x40, 15: 1}) })
	patch("extension-huge", func(f *file) { f.extension(104, 0x6803f857, 1<<31, nil) })
	patch("extension-past-cluster", func(f *file) { f.extension(104, 0x12345678, cluster, nil) })
	patch("extension-flood", func(f *file) {
		for k := 104; k+8 < cluster; k += 8 {
			f.be32(k, 0x12345678)
		}
	})
	patch("bitmaps-huge", func(f *file) {
		f.be64(88, 1)
		p := new(file)
		p.be32(0, 1<<32-1)
		p.be64(8, 1<<62)
		p.be64(16, 3*cluster)
		f.extension(104, 0x23852875, 24, *p)
	})
	for _, offset := range []uint64{1, 3 * cluster, 5 * cluster, 1 << 40, 1<<63 - 1, 1 << 63} {
		patch(fmt.Sprintf("snapshot-table-%#x", offset), func(f *file) { f.be32(60, 3); f.be64(64, offset) })
	}
	snapshot := func(name string, patchIt func(f *file, at int)) {
		patch("snapshot-"+name, func(f *file) {
			at := len(*f)
			f.be32(60, 1)
			f.be64(64, uint64(at))
			f.be64(at, 3*cluster)
			f.be32(at+8, 1)
			f.be16(at+12, 1)
			f.be16(at+14, 1)
			f.be32(at+36, 16)
			f.text(at+40+16, "1s")
			f.at(at, 1024)
			patchIt(f, at)
		})
	}
	snapshot("l1-huge", func(f *file, at int) { f.be32(at+8, 1<<32-1) })
	snapshot("l1-offset", func(f *file, at int) { f.be64(at, 1<<63+7) })
	snapshot("extra-1025", func(f *file, at int) { f.be32(at+36, 1025) })
	snapshot("extra-huge", func(f *file, at int) { f.be32(at+36, 1<<32-1) })
	snapshot("name-64k", func(f *file, at int) { f.be16(at+14, 65535) })
	snapshot("l1-is-table", func(f *file, at int) { f.be64(64, 3*cluster) })
	snapshot("name-escape", func(f *file, at int) { f.be16(at+14, 6); f.text(at+57, "\x1b[31m\n") })

	for kind := range names(new(folder)) {
		add("qcow2/backing-"+kind, func(d *folder) { d.write("image", *backed(qcow2(), names(d)[kind])) })
		add("qcow2/data-file-"+kind, func(d *folder) {
			f := qcow2()
			f.be64(72, 1<<2)
			name := names(d)[kind]
			f.extension(104, 0x44415441, len(name), []byte(name))
			d.write("image", *f)
		})
	}
	patch("backing-name-1024", func(f *file) { backed(f, strings.Repeat("a", 1024)) })
	patch("backing-name-huge", func(f *file) { f.be64(8, 512); f.be32(16, 1<<32-1) })
	patch("backing-offset-huge", func(f *file) { f.be64(8, 1<<63); f.be32(16, 8) })
	patch("backing-offset-past-end", func(f *file) { f.be64(8, 1<<40); f.be32(16, 8) })
	patch("backing-format-loop", func(f *file) { backed(f, "image"); f.extension(104, 0xe2792aca, 5, []byte("qcow2")) })
	patch("backing-format-unknown", func(f *file) { backed(f, "image"); f.extension(104, 0xe2792aca, 4, []byte("nbd\n")) })
	patch("data-file-unnamed", func(f *file) { f.be64(72, 1<<2) })
	for _, n := range []int{2, 3, 15, 16, 17, 40} {
		add(fmt.Sprintf("qcow2/loop-of-%d", n), func(d *folder) { chain(d, n, "image") })
		add(fmt.Sprintf("qcow2/chain-of-%d", n), func(d *folder) { chain(d, n, "end.raw"); d.write("end.raw", make([]byte, 512)) })
	}
	add("qcow2/loop-by-link", func(d *folder) {
		d.link("image", "again")
		d.write("image", *backed(qcow2(), "again"))
	})
	add("qcow2/loop-of-formats", func(d *folder) {
		d.write("image", *backed(qcow2(), "v.vmdk"))
		d.write("v.vmdk", []byte("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=12345678\ncreateType=\"monolithicFlat\"\n"+
			"parentFileNameHint=\"image\"\nRW 2048 FLAT \"flat\" 0\n"))
		d.write("flat", make([]byte, 1<<20))
	})
	patch("polyglot-vmdk", func(f *file) { f.text(1024, "# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n") })
	patch("polyglot-elf", func(f *file) { f.text(1024, "\x7fELF") })
	patch("polyglot-vhd", func(f *file) { f.put(len(*f), (*footer(2))[:]) })
}

// chain writes n images, image, 1, 2, …, of which the last stands on end.
func chain(d *folder, n int, end string) {
	for k := range n {
		name, next := fmt.Sprint(k), fmt.Sprint(k+1)
		if k == 0 {
			name = "image"
		}
		if k == n-1 {
			next = end
		}
		f := backed(qcow2(), next)
		f.cut(3 * cluster)
		f.be64(3*cluster, 0)
		d.write(name, *f)
	}
}
