package hostile

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"instar/internal/program"
)

// footer returns the footer of a VHD of 1 MiB and of a type: 2 is fixed, 3
// dynamic, 4 differencing.
func footer(kind uint32) *file {
	f := new(file)
	f.text(0, "conectix")
	f.be32(8, 2)
	f.be32(12, 0x10000)
	f.be64(16, 1<<64-1)
	if kind != 2 {
		f.be64(16, 512)
	}
	f.text(28, "win ")
	f.be64(40, 1<<20)
	f.be64(48, 1<<20)
	f.be16(56, 30)
	f.put(58, []byte{4, 17})
	f.be32(60, kind)
	f.at(0, 512)
	f.sum(0, 512, 64)
	return f
}

// sum sets the checksum at field of the n bytes at off.
func (f *file) sum(off, n, field int) {
	f.be32(off+field, 0)
	var s uint32
	for _, b := range f.at(off, n) {
		s += uint32(b)
	}
	f.be32(off+field, ^s)
}

// vhd returns a dynamic VHD of 1 MiB: footer, header, table at 2048, a block at
// 4096, footer.
func vhd(kind uint32) *file {
	f := footer(kind)
	f.text(512, "cxsparse")
	f.be64(520, 1<<64-1)
	f.be64(528, 2048)
	f.be32(536, 0x10000)
	f.be32(540, 1)
	f.be32(544, 2<<20)
	f.at(512, 1024)
	f.sum(512, 1024, 36)
	f.be32(2048, 8)
	f.fill(4096, 512, 0xff)
	f.fill(4096+512, 1<<20, 0x43)
	f.at(4096+512, 2<<20)
	f.put(len(*f), (*footer(kind)))
	return f
}

func vhdAttacks() {
	patch := func(name string, kind uint32, patch func(f *file)) {
		add("vpc/"+name, func(d *folder) {
			f := vhd(kind)
			patch(f)
			f.sum(0, 512, 64)
			f.sum(512, 1024, 36)
			if end := len(*f) - 512; end >= 4096 {
				f.put(end, (*f)[:512])
			}
			d.write("image", *f)
		})
	}
	for _, n := range []int{100, 511, 512, 600, 1536, 2048, 2050, 4100, 8192} {
		add(fmt.Sprintf("vpc/cut-%d", n), func(d *folder) { f := vhd(3); f.cut(n); d.write("image", *f) })
	}
	add("vpc/footer-alone", func(d *folder) { d.write("image", *footer(2)) })
	add("vpc/footer-cut", func(d *folder) { d.write("image", (*footer(2))[:511]) })
	add("vpc/checksum", func(d *folder) { f := vhd(3); f.be32(64, 7); f.be32(512+36, 7); d.write("image", *f) })
	for name, size := range edges {
		patch("size-"+name, 3, func(f *file) { f.be64(48, size) })
		add("vpc/fixed-size-"+name, func(d *folder) {
			f := footer(2)
			f.be64(40, size)
			f.be64(48, size)
			f.sum(0, 512, 64)
			d.write("image", append(make([]byte, 1<<20), *f...))
		})
	}
	for _, v := range []uint64{0, 1, 512, 1024, 4096, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 512, 1<<64 - 1} {
		patch(fmt.Sprintf("header-%#x", v), 3, func(f *file) { f.be64(16, v) })
		patch(fmt.Sprintf("table-%#x", v), 3, func(f *file) { f.be64(528, v) })
	}
	for _, v := range []uint32{0, 1, 3, 511, 512, 513, 1 << 20, 1 << 30, 1 << 31, 1<<32 - 1} {
		patch(fmt.Sprintf("entries-%#x", v), 3, func(f *file) { f.be32(540, v) })
		patch(fmt.Sprintf("block-%#x", v), 3, func(f *file) { f.be32(544, v) })
		patch(fmt.Sprintf("bat-entry-%#x", v), 3, func(f *file) { f.be32(2048, v) })
		patch(fmt.Sprintf("type-%#x", v), 3, func(f *file) { f.be32(60, v) })
	}
	patch("aliases", 3, func(f *file) {
		f.be64(48, 64<<20)
		f.be16(56, 0xffff)
		f.be32(540, 32)
		for k := range 512 {
			f.be32(2048+4*k, 8)
		}
	})
	patch("geometry-0", 3, func(f *file) { f.be32(56, 0); f.text(28, "vpc ") })
	patch("geometry-max", 3, func(f *file) { f.be32(56, 1<<32-1); f.text(28, "vpc ") })
	for kind := range names(new(folder)) {
		for _, where := range []string{"name", "W2ru", "W2ku", "MacX"} {
			add("vpc/parent-"+where+"-"+kind, func(d *folder) {
				f := vhd(4)
				name := names(d)[kind]
				p := utf16(name, binary.LittleEndian)
				if where == "MacX" {
					p = []byte("file://" + name)
				}
				if where == "name" {
					p = utf16(name, binary.BigEndian)
					f.put(512+64, p[:min(len(p), 512)])
				} else {
					f.text(512+576, where)
					f.be32(512+580, 512)
					f.be32(512+584, uint32(len(p)))
					f.be64(512+592, 2560)
					f.put(2560, p[:min(len(p), 1500)])
				}
				f.sum(512, 1024, 36)
				d.write("image", *f)
			})
		}
	}
	for _, v := range []uint32{0, 1, 3, 1 << 16, 1 << 31, 1<<32 - 1} {
		patch(fmt.Sprintf("locator-length-%#x", v), 4, func(f *file) { f.text(512+576, "W2ru"); f.be32(512+584, v); f.be64(512+592, 2560) })
		patch(fmt.Sprintf("locator-offset-%#x", v), 4, func(f *file) {
			f.text(512+576, "W2ru")
			f.be32(512+584, 8)
			f.be64(512+592, uint64(v)<<32)
		})
	}
	add("vpc/parent-conflict", func(d *folder) { // each locator has another name, and one is allowed
		f := vhd(4)
		for k, name := range []string{"/etc/passwd", "..\\canary", "base", `\\host\share\base`} {
			at, p := 512+576+24*k, utf16(name, binary.LittleEndian)
			f.text(at, []string{"W2ku", "W2ru", "W2ru", "W2ku"}[k])
			f.be32(at+4, 512)
			f.be32(at+8, uint32(len(p)))
			f.be64(at+16, uint64(2560+512*k))
			f.put(2560+512*k, p)
		}
		f.sum(512, 1024, 36)
		d.write("image", *f)
	})
	patch("parent-surrogates", 4, func(f *file) { f.put(512+64, []byte{0xd8, 0, 0xd8, 0, 0xdc, 0, 0, 0x2f}) })
	patch("parent-overlong", 4, func(f *file) {
		for k := range 256 {
			f.be16(512+64+2*k, 'a')
		}
	})

	vhdx()
}

// vhdx adds attacks on an image that the program itself made.
func vhdx() {
	const (
		header, second, regions, copied = 64 << 10, 128 << 10, 192 << 10, 256 << 10
	)
	patch := func(name string, patch func(f *file, bat, meta int)) {
		add("vhdx/"+name, func(d *folder) {
			d.write("in.raw", append(make([]byte, 3<<20), strings.Repeat("v", 4096)...))
			program.MustRun(d.t, d.path, nil, program.Instar(), "convert", "--sandbox=jail", "-f", "raw", "-O", "vhdx", "in.raw", "image")
			os.Remove(filepath.Join(d.path, "in.raw"))
			p, err := os.ReadFile(filepath.Join(d.path, "image"))
			if err != nil {
				d.t.Fatal(err)
			}
			f := (*file)(&p)
			var bat, meta int
			for k := range 2 {
				e := f.at(regions+16+32*k, 32)
				at := int(binary.LittleEndian.Uint64(e[16:]))
				if e[0] == 0x66 {
					bat = at
				} else {
					meta = at
				}
			}
			patch(f, bat, meta)
			for _, at := range []int{header, second} {
				if string(f.at(at, 4)) == "head" {
					f.le32(at+4, crc32c(f.at(at, 4096)))
				}
			}
			for _, at := range []int{regions, copied} {
				f.le32(at+4, crc32c(f.at(at, 65536)))
			}
			d.write("image", *f)
		})
	}
	for _, n := range []int{8, 64 << 10, 128<<10 + 100, 200 << 10, 1 << 20, 2 << 20, 3<<20 + 4} {
		add(fmt.Sprintf("vhdx/cut-%d", n), func(d *folder) {
			find("vhdx/as-it-is").make(d)
			if err := os.Truncate(filepath.Join(d.path, "image"), int64(n)); err != nil {
				d.t.Fatal(err)
			}
		})
	}
	both := func(f *file, set func(at int)) { set(header); set(second) }
	patch("as-it-is", func(*file, int, int) {})
	patch("no-header", func(f *file, _, _ int) { both(f, func(at int) { f.text(at, "dead") }) })
	patch("headers-conflict", func(f *file, _, _ int) { both(f, func(at int) { f.le64(at+8, 7) }); f.le64(header+32, 99) })
	patch("version-2", func(f *file, _, _ int) { both(f, func(at int) { f.le16(at+66, 2) }) })
	patch("log-version-1", func(f *file, _, _ int) { both(f, func(at int) { f.le16(at+64, 1) }) })
	for _, v := range []uint64{0, 1, 1 << 16, 1 << 40, 1<<63 - 1<<20, 1 << 63, 1<<64 - 1<<20, 1<<64 - 1} {
		patch(fmt.Sprintf("bat-region-%#x", v), func(f *file, _, _ int) {
			for _, t := range []int{regions, copied} {
				for k := range 2 {
					if f.at(t+16+32*k, 1)[0] == 0x66 {
						f.le64(t+16+32*k+16, v)
					}
				}
			}
		})
		patch(fmt.Sprintf("metadata-region-%#x", v), func(f *file, _, _ int) {
			for _, t := range []int{regions, copied} {
				for k := range 2 {
					if f.at(t+16+32*k, 1)[0] == 0x06 {
						f.le64(t+16+32*k+16, v)
					}
				}
			}
		})
		patch(fmt.Sprintf("log-offset-%#x", v), func(f *file, _, _ int) { both(f, func(at int) { f.le64(at+48, 1); f.le64(at+72, v) }) })
		patch(fmt.Sprintf("bat-entry-%#x", v), func(f *file, bat, _ int) { f.le64(bat, v) })
		patch(fmt.Sprintf("bat-entry-present-%#x", v), func(f *file, bat, _ int) { f.le64(bat, v&^0xfffff|6) })
	}
	for _, v := range []uint32{0, 1, 2, 3, 2047, 2048, 1 << 20, 512 << 20, 1 << 31, 1<<32 - 1} {
		patch(fmt.Sprintf("region-count-%#x", v), func(f *file, _, _ int) { f.le32(regions+8, v); f.le32(copied+8, v) })
		patch(fmt.Sprintf("metadata-count-%#x", v), func(f *file, _, meta int) { f.le16(meta+10, uint16(v)) })
		patch(fmt.Sprintf("log-length-%#x", v), func(f *file, _, _ int) { both(f, func(at int) { f.le64(at+48, 1); f.le32(at+68, v) }) })
		for k, item := range []string{"parameters", "size", "id", "logical", "physical"} {
			patch(fmt.Sprintf("item-%s-offset-%#x", item, v), func(f *file, _, meta int) { f.le32(meta+32+32*k+16, v) })
			patch(fmt.Sprintf("item-%s-length-%#x", item, v), func(f *file, _, meta int) { f.le32(meta+32+32*k+20, v) })
			patch(fmt.Sprintf("item-%s-%#x", item, v), func(f *file, _, meta int) {
				f.le32(meta+int(binary.LittleEndian.Uint32(f.at(meta+32+32*k+16, 4))), v)
			})
		}
	}
	patch("aliases", func(f *file, bat, _ int) { f.put(bat+8, f.at(bat, 8)) })
	patch("regions-overlap", func(f *file, _, _ int) {
		for _, t := range []int{regions, copied} {
			f.put(t+16+16, f.at(t+16+32+16, 8))
		}
	})
	logged := func(name string, descriptor func(f *file, at int), count uint32) {
		patch("log-"+name, func(f *file, _, _ int) {
			log := 1 << 20
			both(f, func(at int) { f.fill(at+48, 16, 9); f.le32(at+68, 1<<20); f.le64(at+72, uint64(log)) })
			f.text(log, "loge")
			f.le32(log+8, 4096)
			f.le64(log+16, 1)
			f.le32(log+24, count)
			f.fill(log+32, 16, 9)
			f.le64(log+48, uint64(len(*f)))
			f.le64(log+56, uint64(len(*f)))
			for k := range min(int(count), 126) {
				descriptor(f, log+64+32*k)
				f.le64(log+64+32*k+24, 1)
			}
			f.le32(log+4, crc32c(f.at(log, 4096)))
		})
	}
	zero := func(length, offset uint64) func(f *file, at int) {
		return func(f *file, at int) { f.text(at, "zero"); f.le64(at+8, length); f.le64(at+16, offset) }
	}
	logged("zero", zero(4096, 8<<20), 1)
	logged("zero-bomb", zero(1<<62, 1<<20), 126)
	logged("zero-wrap", zero(1<<63, 1<<63), 1)
	logged("zero-header", zero(1<<20, 0), 1)
	logged("zero-over-all", zero(1<<40, 0), 126)
	logged("data-missing", func(f *file, at int) { f.text(at, "desc") }, 126)
	logged("descriptors-many", zero(4096, 8<<20), 1<<32-1)
	logged("descriptor-unknown", func(f *file, at int) { f.text(at, "what") }, 1)
	patch("log-growth", func(f *file, _, _ int) {
		log := 1 << 20
		both(f, func(at int) { f.fill(at+48, 16, 9); f.le32(at+68, 1<<20); f.le64(at+72, uint64(log)) })
		f.text(log, "loge")
		f.le32(log+8, 4096)
		f.le64(log+16, 1)
		f.fill(log+32, 16, 9)
		f.le64(log+48, 1<<62)
		f.le64(log+56, 1<<62)
		f.le32(log+4, crc32c(f.at(log, 4096)))
	})
	patch("log-garbage", func(f *file, _, _ int) {
		both(f, func(at int) { f.fill(at+48, 16, 9); f.le32(at+68, 1<<20); f.le64(at+72, 1<<20) })
		for at := 1 << 20; at < 2<<20; at += 4096 {
			f.text(at, "loge")
		}
	})
	for kind := range names(new(folder)) {
		add("vhdx/parent-"+kind, func(d *folder) {
			find("vhdx/as-it-is").make(d)
			p, err := os.ReadFile(filepath.Join(d.path, "image"))
			if err != nil {
				d.t.Fatal(err)
			}
			f := (*file)(&p)
			meta := 0
			for k := range 2 {
				if e := f.at(192<<10+16+32*k, 32); e[0] == 0x06 {
					meta = int(binary.LittleEndian.Uint64(e[16:]))
				}
			}
			locator(f, meta, names(d)[kind])
			d.write("image", *f)
		})
	}
}

// locator gives a VHDX image a parent of that name.
func locator(f *file, meta int, name string) {
	parameters := meta + int(binary.LittleEndian.Uint32(f.at(meta+32+16, 4)))
	f.le32(parameters+4, 2)
	count := int(binary.LittleEndian.Uint16(f.at(meta+10, 2)))
	f.le16(meta+10, uint16(count+1))
	entry, at := meta+32+32*count, 128<<10
	f.put(entry, []byte{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c})
	f.le32(entry+16, uint32(at))
	f.le32(entry+24, 4)
	item := meta + at
	f.put(item, []byte{0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13})
	keys := [][2]string{{"parent_linkage", "{12345678-1234-1234-1234-123456789abc}"}, {"relative_path", name}, {"absolute_win32_path", name}}
	f.le16(item+18, uint16(len(keys)))
	end := 20 + 12*len(keys)
	for k, pair := range keys {
		for side, s := range pair {
			p := utf16(s, binary.LittleEndian)
			f.le32(item+20+12*k+4*side, uint32(end))
			f.le16(item+20+12*k+8+2*side, uint16(len(p)))
			f.put(item+end, p)
			end += len(p)
		}
	}
	f.le32(entry+20, uint32(end))
}
