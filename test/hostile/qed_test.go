package hostile

import "fmt"

// qed returns an image of 1 MiB with one cluster of data, its parts in the
// clusters header, L1 table, L2 table (two clusters each), data.
func qed() *file {
	f := new(file)
	f.text(0, "QED\x00")
	f.le32(4, cluster)
	f.le32(8, 2)
	f.le32(12, 1)
	f.le64(40, cluster)
	f.le64(48, 1<<20)
	f.le64(cluster, 3*cluster)
	f.le64(3*cluster, 5*cluster)
	f.fill(5*cluster, cluster, 0x51)
	return f
}

func qedAttacks() {
	patch := func(name string, patch func(f *file)) {
		add("qed/"+name, func(d *folder) {
			f := qed()
			patch(f)
			d.write("image", *f)
		})
	}
	patch("as-it-is", func(*file) {})
	for _, n := range []int{4, 63, 64, cluster, 2 * cluster, 3*cluster + 4, 5*cluster + 1} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, v := range []uint32{0, 1, 2, 3, 16, 17, 511, 1 << 12, 1 << 16, 1 << 26, 1 << 27, 1 << 31, 1<<32 - 1} {
		patch(fmt.Sprintf("cluster-size-%#x", v), func(f *file) { f.le32(4, v) })
		patch(fmt.Sprintf("table-size-%#x", v), func(f *file) { f.le32(8, v) })
		patch(fmt.Sprintf("header-size-%#x", v), func(f *file) { f.le32(12, v) })
		patch(fmt.Sprintf("name-offset-%#x", v), func(f *file) { f.le64(16, 1); f.le32(56, v); f.le32(60, 12) })
		patch(fmt.Sprintf("name-length-%#x", v), func(f *file) { f.le64(16, 1); f.le32(56, 64); f.le32(60, v) })
	}
	for name, v := range edges {
		patch("size-"+name, func(f *file) { f.le64(48, v) })
		patch("features-"+name, func(f *file) { f.le64(16, v) })
		patch("l1-"+name, func(f *file) { f.le64(40, v) })
		patch("l1-entry-"+name, func(f *file) { f.le64(cluster, v) })
		patch("l2-entry-"+name, func(f *file) { f.le64(3*cluster, v) })
	}
	patch("need-check", func(f *file) { f.le64(16, 2) })
	patch("l1-is-header", func(f *file) { f.le64(40, 0) })
	patch("l1-is-l1-entry", func(f *file) { f.le64(cluster, cluster) })
	patch("data-is-l2", func(f *file) { f.le64(3*cluster, 3*cluster) })
	patch("aliases", func(f *file) {
		f.le64(48, 64<<20)
		for k := range 1024 {
			f.le64(3*cluster+8*k, 5*cluster)
		}
	})
	stand := func(f *file, name string) *file {
		f.le64(16, 1)
		f.le32(56, 64)
		f.le32(60, uint32(len(name)))
		f.text(64, name)
		return f
	}
	for kind := range names(new(folder)) {
		add("qed/backing-"+kind, func(d *folder) { d.write("image", *stand(qed(), names(d)[kind])) })
	}
	patch("backing-name-1024", func(f *file) { f.le64(16, 1); f.le32(56, 64); f.le32(60, 1024); f.fill(64, 1024, 'a') })
	// Each format stands on the next, and the last on the first.
	add("qed/loop-of-formats", func(d *folder) {
		q := qcow()
		q.be64(8, 16<<10)
		q.be32(16, 6)
		q.text(16<<10, "v.vmdk")
		d.write("image", *stand(qed(), "a.qcow2"))
		d.write("a.qcow2", *backed(qcow2(), "b.qcow"))
		d.write("b.qcow", *q)
		d.write("v.vmdk", []byte("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=12345678\ncreateType=\"monolithicFlat\"\n"+
			"parentFileNameHint=\"image\"\nRW 2048 FLAT \"flat\" 0\n"))
		d.write("flat", make([]byte, 1<<20))
	})
}
