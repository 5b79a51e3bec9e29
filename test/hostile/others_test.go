package hostile

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// vdi returns a VDI image of 2 MiB with one block of data.
func vdi() *file {
	f := new(file)
	f.text(0, "<<< VirtualBox Disk Image >>>\n")
	f.le32(0x40, 0xbeda107f)
	f.le32(0x44, 0x10001)
	f.le32(0x48, 0x180)
	f.le32(0x4c, 1)
	f.le32(0x154, 512)
	f.le32(0x158, 1024)
	f.le32(0x168, 512)
	f.le64(0x170, 2<<20)
	f.le32(0x178, 1<<20)
	f.le32(0x180, 2)
	f.le32(0x184, 1)
	f.fill(0x188, 32, 7)
	f.le32(512, 0)
	f.le32(516, 1<<32-1)
	f.fill(1024, 1<<20, 0x44)
	return f
}

// qcow returns a version 1 image of 1 MiB: header, L1 at 512, L2 at 4096.
func qcow() *file {
	f := new(file)
	f.text(0, "QFI\xfb")
	f.be32(4, 1)
	f.be64(24, 1<<20)
	f.put(32, []byte{12, 9})
	f.be64(40, 512)
	f.be64(512, 4096)
	f.be64(4096, 8192)
	f.fill(8192, 4096, 0x45)
	return f
}

// parallels returns an image of 1 MiB in clusters of 64 KiB.
func parallels() *file {
	f := new(file)
	f.text(0, "WithoutFreeSpace")
	f.le32(16, 2)
	f.le32(20, 16)
	f.le32(24, 2)
	f.le32(28, 128)
	f.le32(32, 16)
	f.le64(36, 2048)
	f.le32(48, 128)
	f.le32(64, 128)
	f.fill(128*512, 64<<10, 0x46)
	return f
}

// luks returns a LUKS1 header with one keyslot.
func luks() *file {
	f := new(file)
	f.text(0, "LUKS\xba\xbe")
	f.be16(6, 1)
	f.text(8, "aes")
	f.text(40, "xts-plain64")
	f.text(72, "sha256")
	f.be32(104, 4096)
	f.be32(108, 64)
	f.fill(112, 52, 3)
	f.be32(164, 1000)
	f.text(168, "01234567-89ab-cdef-0123-456789abcdef")
	for k := range 8 {
		f.be32(208+48*k, 0xdead)
	}
	f.be32(208, 0xac71f3)
	f.be32(212, 1000)
	f.be32(208+40, 8)
	f.be32(208+44, 4000)
	f.at(0, 4<<20)
	return f
}

// luks2 returns a LUKS2 header with this description of itself.
func luks2(description string) *file {
	f := new(file)
	f.text(0, "LUKS\xba\xbe")
	f.be16(6, 2)
	f.be64(8, 16<<10)
	f.be64(16, 3)
	f.text(72, "sha256")
	f.text(168, "01234567-89ab-cdef-0123-456789abcdef")
	f.text(4096, description)
	f.at(0, 4<<20)
	return f
}

const description = `{"keyslots":{"0":{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":%s,"hash":"sha256"},` +
	`"area":{"type":"raw","offset":"%s","size":"258048","encryption":"aes-xts-plain64","key_size":64},` +
	`"kdf":{"type":"argon2id","time":%s,"memory":%s,"cpus":%s,"salt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}},` +
	`"tokens":{},"segments":{"0":{"type":"crypt","offset":"%s","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":512}},` +
	`"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"AAAA","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}},` +
	`"config":{"json_size":"12288","keyslots_size":"258048"}}`

func otherAttacks() {
	patcher := func(format string, fresh func() *file) func(string, func(*file)) {
		return func(name string, patch func(f *file)) {
			add(format+"/"+name, func(d *folder) {
				f := fresh()
				patch(f)
				d.write("image", *f)
			})
		}
	}
	wide := []uint32{0, 1, 3, 511, 513, 1 << 16, 1 << 20, 1 << 29, 1 << 31, 1<<32 - 1}

	patch := patcher("vdi", vdi)
	for _, n := range []int{0x44, 0x180, 511, 514, 1024, 2000} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, field := range []struct {
		name string
		at   int
	}{{"version", 0x44}, {"type", 0x4c}, {"map", 0x154}, {"data", 0x158}, {"sector", 0x168}, {"block", 0x178}, {"extra", 0x17c}, {"blocks", 0x180}, {"allocated", 0x184}, {"map-entry", 512}, {"parent", 0x1b8}} {
		for _, v := range wide {
			patch(fmt.Sprintf("%s-%#x", field.name, v), func(f *file) { f.le32(field.at, v) })
		}
	}
	for name, size := range edges {
		patch("size-"+name, func(f *file) { f.le64(0x170, size) })
		patch("size-fit-"+name, func(f *file) { f.le64(0x170, size); f.le32(0x180, uint32(size>>20)) })
	}
	patch("aliases", func(f *file) {
		f.le64(0x170, 128<<20)
		f.le32(0x180, 128)
		f.le32(0x158, 4096)
		for k := range 128 {
			f.le32(512+4*k, 0)
		}
	})

	patch = patcher("qcow", qcow)
	for _, n := range []int{8, 47, 514, 4100, 8200} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, bits := range [][2]byte{{0, 9}, {8, 9}, {17, 9}, {63, 9}, {255, 9}, {12, 0}, {12, 5}, {12, 14}, {12, 255}, {16, 13}, {9, 6}} {
		patch(fmt.Sprintf("bits-%d-%d", bits[0], bits[1]), func(f *file) { f.put(32, bits[:]) })
	}
	for _, v := range wide {
		patch(fmt.Sprintf("crypt-%#x", v), func(f *file) { f.be32(36, v) })
		patch(fmt.Sprintf("backing-length-%#x", v), func(f *file) { f.be64(8, 256); f.be32(16, v); f.text(256, "no-such-file") })
	}
	for name, v := range edges {
		patch("size-"+name, func(f *file) { f.be64(24, v) })
		patch("l1-"+name, func(f *file) { f.be64(40, v) })
		patch("l1-entry-"+name, func(f *file) { f.be64(512, v) })
		patch("l2-entry-"+name, func(f *file) { f.be64(4096, v) })
		patch("backing-offset-"+name, func(f *file) { f.be64(8, v); f.be32(16, 8) })
	}
	patch("deflate-bomb", func(f *file) {
		p := deflated(make([]byte, 16<<20))[:4000]
		f.put(12288, p)
		for k := range 256 {
			f.be64(4096+8*k, 1<<63|uint64(len(p))<<51|12288)
		}
	})
	patch("tables-are-one", func(f *file) { f.be64(512, 512) })
	patch("crypt-2", func(f *file) { f.be32(36, 2) })
	for _, n := range []int{1023, 1024} {
		patch(fmt.Sprintf("backing-name-%d", n), func(f *file) { f.be64(8, 16<<10); f.be32(16, uint32(n)); f.fill(16<<10, n, 'a') })
	}
	for kind := range names(new(folder)) {
		add("qcow/backing-"+kind, func(d *folder) {
			f, name := qcow(), names(d)[kind]
			f.be64(8, 16<<10)
			f.be32(16, uint32(len(name)))
			f.text(16<<10, name)
			d.write("image", *f)
		})
	}

	patch = patcher("parallels", parallels)
	for _, n := range []int{20, 63, 66, 128*512 + 1} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, field := range []struct {
		name string
		at   int
	}{{"version", 16}, {"tracks", 28}, {"entries", 32}, {"data", 48}, {"extensions", 56}, {"bat-entry", 64}} {
		for _, v := range wide {
			patch(fmt.Sprintf("%s-%#x", field.name, v), func(f *file) { f.le32(field.at, v) })
			patch(fmt.Sprintf("ext-%s-%#x", field.name, v), func(f *file) { f.text(0, "WithouFreSpacExt"); f.le32(field.at, v) })
		}
	}
	for name, size := range edges {
		patch("size-"+name, func(f *file) { f.text(0, "WithouFreSpacExt"); f.le64(36, size) })
	}

	patch = patcher("luks", luks)
	for _, n := range []int{8, 100, 591, 592, 2 << 20} {
		patch(fmt.Sprintf("cut-%d", n), func(f *file) { f.cut(n) })
	}
	for _, field := range []struct {
		name string
		at   int
	}{{"payload", 104}, {"key-bytes", 108}, {"iterations", 164}, {"slot", 208}, {"slot-iterations", 212}, {"slot-offset", 248}, {"stripes", 252}} {
		for _, v := range wide {
			patch(fmt.Sprintf("%s-%#x", field.name, v), func(f *file) { f.be32(field.at, v) })
		}
	}
	patch("version-3", func(f *file) { f.be16(6, 3) })
	patch("cipher-escape", func(f *file) { f.text(8, "\x1b[31m\n") })
	patch("mode-none", func(f *file) { f.fill(40, 32, 0) })
	patch("hash-unknown", func(f *file) { f.fill(72, 32, 'x') })
	patch("uuid-unterminated", func(f *file) { f.fill(168, 40, 0xff) })
	second := func(name, text string) {
		add("luks/2-"+name, func(d *folder) { d.write("image", *luks2(text)) })
	}
	fields := func(with ...string) string {
		all := []any{"4000", "32768", "4", "65536", "2", "1048576"}
		for k := 0; k < len(with); k += 2 {
			at := map[string]int{"stripes": 0, "area": 1, "time": 2, "memory": 3, "cpus": 4, "segment": 5}[with[k]]
			all[at] = with[k+1]
		}
		return fmt.Sprintf(description, all...)
	}
	second("as-it-is", fields())
	for _, field := range []string{"stripes", "area", "time", "memory", "cpus", "segment"} {
		for _, v := range []string{"0", "-1", "1.5", "4294967295", "9223372036854775807", "18446744073709551616", "1e300"} {
			second(field+"-"+v, fields(field, v))
		}
	}
	second("empty", "")
	second("nothing", "{}")
	second("deep", strings.Repeat("[", 12000))
	second("deep-objects", strings.Repeat(`{"a":`, 2400))
	second("keyslots-many", `{"keyslots":{`+strings.Repeat(`"0":{},`, 1600)+`"1":{}}}`)
	second("escape", `{"keyslots":{"\u001b[31m\n":{"type":"\u001b[31m"}}}`)
	for _, v := range []uint64{0, 4096, 1 << 22, 1 << 31, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		add(fmt.Sprintf("luks/2-header-size-%#x", v), func(d *folder) { f := luks2("{}"); f.be64(8, v); d.write("image", *f) })
	}

	add("raw/empty", func(d *folder) { d.write("image", nil) })
	add("raw/one-byte", func(d *folder) { d.write("image", []byte("x")) })
	add("raw/json", func(d *folder) {
		d.write("image", []byte(`json:{"driver":"raw","file.filename":"`+d.canary+`"}`))
	})
	add("raw/gpt-garbage", func(d *folder) {
		f := new(file)
		f.put(510, []byte{0x55, 0xaa})
		f.text(512, "EFI PART")
		for k := 520; k < 2048; k += 8 {
			binary.LittleEndian.PutUint64(f.at(k, 8), 1<<64-1)
		}
		d.write("image", *f)
	})
	add("raw/huge", func(d *folder) { d.sparse("image", []byte("x"), 1<<43) })
	for _, magic := range []string{"QFI\xfb", "KDMV", "COWD", "conectix", "vhdxfile", "LUKS\xba\xbe", "WithoutFreeSpace", "# Disk DescriptorFile", "QED\x00", "koly"} {
		name := strings.Trim(strings.Map(func(r rune) rune {
			if r > ' ' && r < 127 {
				return r
			}
			return '-'
		}, strings.ReplaceAll(magic, "\xfb", "-")), "-")
		add("raw/magic-"+name, func(d *folder) { d.write("image", []byte(magic)) })
		add("raw/magic-ones-"+name, func(d *folder) {
			d.write("image", append([]byte(magic), strings.Repeat("\xff", 1<<20)...))
		})
	}
}
