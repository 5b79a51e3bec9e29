package hostile

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"strings"
)

// Kinds of chunk of a DMG.
const (
	dmgZero, dmgRaw, dmgIgnore = 0, 1, 2
	dmgADC, dmgZlib, dmgBzip2  = 0x80000004, 0x80000005, 0x80000006
	dmgLZFSE, dmgLZMA          = 0x80000007, 0x80000008
	dmgEnd                     = 0xffffffff
)

// A chunk is an entry of the table of a DMG.
type chunk struct {
	kind                          uint32
	sector, count, offset, length uint64
}

// mish returns a table of chunks.
func mish(chunks ...chunk) *file {
	f := new(file)
	f.text(0, "mish")
	f.be32(4, 1)
	f.be32(200, uint32(len(chunks)))
	for k, c := range chunks {
		at := 204 + 40*k
		f.be32(at, c.kind)
		f.be64(at+8, c.sector)
		f.be64(at+16, c.count)
		f.be64(at+24, c.offset)
		f.be64(at+32, c.length)
	}
	return f
}

func plist(tables ...[]byte) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><plist version="1.0"><dict><key>resource-fork</key><dict><key>blkx</key><array>`)
	for _, t := range tables {
		b.WriteString("<dict><key>Data</key><data>" + base64.StdEncoding.EncodeToString(t) + "</data></dict>")
	}
	return b.String() + "</array></dict></dict></plist>"
}

// addDMG adds an attack that is said to be a DMG: by itself only a file with a
// name that ends so is taken for one.
func addDMG(name string, image func() *file) {
	add("dmg/"+name, func(d *folder) {
		d.format = "dmg"
		d.write("image", *image())
	})
}

// dmg returns an image of so many sectors: content, a list of properties, the
// trailer.
func dmg(content []byte, list string, sectors uint64) *file {
	f := new(file)
	f.put(0, content)
	f.put(len(content), []byte(list))
	t := len(*f)
	f.text(t, "koly")
	f.be32(t+4, 4)
	f.be32(t+8, 512)
	f.be64(t+0x20, uint64(len(content)))
	f.be64(t+0xd8, uint64(len(content)))
	f.be64(t+0xe0, uint64(len(list)))
	f.be64(t+0x1ec, sectors)
	f.at(t, 512)
	return f
}

func zlibbed(p []byte) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, 9)
	w.Write(p)
	w.Close()
	return b.Bytes()
}

func dmgAttacks() {
	stored := bytes.Repeat([]byte{0x44}, 64<<10)
	whole := chunk{dmgRaw, 0, 128, 0, 64 << 10}
	end := chunk{dmgEnd, 128, 0, 0, 0}
	table := func(name string, content []byte, sectors uint64, chunks ...chunk) {
		addDMG(name, func() *file { return dmg(content, plist(*mish(chunks...)), sectors) })
	}
	trailer := func(name string, patch func(f *file, trailer int)) {
		addDMG(name, func() *file {
			f := dmg(stored, plist(*mish(whole, end)), 128)
			patch(f, len(*f)-512)
			return f
		})
	}
	list := func(name, text string) {
		addDMG(name, func() *file { return dmg(stored, text, 128) })
	}

	trailer("as-it-is", func(*file, int) {})
	add("dmg/undetected", func(d *folder) { d.write("image", *dmg(stored, plist(*mish(whole, end)), 1<<64-128)) })
	trailer("koly-truncated", func(f *file, t int) { f.cut(t + 100) })
	trailer("koly-cut-from-the-front", func(f *file, t int) { *f = (*f)[t+200:] })
	for name, size := range edges {
		trailer("sectors-"+name, func(f *file, t int) { f.be64(t+0x1ec, size) })
	}
	trailer("sectors-negative", func(f *file, t int) { f.be64(t+0x1ec, 1<<64-128) })
	trailer("sectors-128-pib", func(f *file, t int) { f.be64(t+0x1ec, 1<<48) })
	for _, v := range []uint64{0, 1, 511, 1 << 31, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for _, field := range []struct {
			name string
			at   int
		}{{"data-offset", 0x18}, {"data-length", 0x20}, {"fork-offset", 0x28}, {"fork-length", 0x30}, {"list-offset", 0xd8}, {"list-length", 0xe0}} {
			trailer(fmt.Sprintf("%s-%#x", field.name, v), func(f *file, t int) { f.be64(t+field.at, v) })
		}
		table(fmt.Sprintf("chunk-sector-%#x", v), stored, 128, chunk{dmgRaw, v, 128, 0, 64 << 10}, end)
		table(fmt.Sprintf("chunk-count-%#x", v), stored, 128, chunk{dmgRaw, 0, v, 0, 64 << 10}, end)
		table(fmt.Sprintf("chunk-offset-%#x", v), stored, 128, chunk{dmgRaw, 0, 128, v, 64 << 10}, end)
		table(fmt.Sprintf("chunk-length-%#x", v), stored, 128, chunk{dmgZlib, 0, 128, 0, v}, end)
		table(fmt.Sprintf("zeros-%#x", v), stored, v, chunk{dmgZero, 0, v, 0, 0}, end)
	}
	trailer("list-is-trailer", func(f *file, t int) { f.be64(t+0xd8, uint64(t)); f.be64(t+0xe0, 512) })

	table("table-empty", stored, 128)
	list("table-missing", plist())
	list("table-short", plist([]byte("mish")))
	list("table-garbage", plist(bytes.Repeat([]byte{0xff}, 4096)))
	list("table-not-base64", strings.Replace(plist(*mish(whole)), "bWlz", "\x00\xff!!", 1))
	addDMG("table-count-huge", func() *file {
		f := mish(whole, end)
		f.be32(200, 1<<32-1)
		return dmg(stored, plist(*f), 128)
	})
	list("list-garbage", "\x00\x01\x02<plist>&&&")
	list("list-deep", strings.Repeat("<array>", 100000))
	list("list-entities", `<!DOCTYPE a [<!ENTITY a "`+strings.Repeat("x", 4096)+`"><!ENTITY b "`+strings.Repeat("&a;", 1000)+`">]><plist>`+strings.Repeat("&b;", 1000)+`</plist>`)
	list("list-outside", `<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><plist>&a;</plist>`)
	list("list-2-mib", plist(*mish(whole, end))+strings.Repeat(" ", 2<<20))

	table("length-over-64-mib", stored, 128, chunk{dmgZlib, 0, 128, 0, 64<<20 + 1}, end)
	table("count-over-131072", stored, 131073, chunk{dmgZlib, 0, 131073, 0, 64 << 10}, end)
	for name, kind := range map[string]uint32{"adc": dmgADC, "zlib": dmgZlib, "bzip2": dmgBzip2, "lzfse": dmgLZFSE, "lzma": dmgLZMA, "unknown": 0x80000042} {
		table("garbage-"+name, stored, 128, chunk{kind, 0, 128, 0, 64 << 10}, end)
		table("nothing-"+name, stored, 128, chunk{kind, 0, 128, 0, 0}, end)
	}
	for name, zeros := range map[string]int{"chunk-of-4-mib": 4 << 20, "zlib-bomb": 256 << 20} {
		addDMG(name, func() *file {
			p, sectors := zlibbed(make([]byte, zeros)), uint64(min(zeros, 4<<20)/512)
			return dmg(p, plist(*mish(chunk{dmgZlib, 0, sectors, 0, uint64(len(p))}, end)), sectors)
		})
	}
	var flood, again []chunk
	for k := range uint64(40000) {
		flood = append(flood, chunk{dmgZero, k, 1, 0, 0})
		again = append(again, chunk{dmgRaw, 0, 128, 0, 64 << 10})
	}
	table("flood-of-chunks", stored, 40000, flood...)
	table("overlapping", stored, 128, again[:1000]...)
	var aliases []chunk
	small := zlibbed(make([]byte, 1<<20))
	for k := range uint64(1000) {
		aliases = append(aliases, chunk{dmgZlib, k * 2048, 2048, 0, uint64(len(small))})
	}
	table("aliases", small, 1000*2048, aliases...)
	large := zlibbed(make([]byte, 64<<20))
	aliases = nil
	for k := range uint64(256) {
		aliases = append(aliases, chunk{dmgZlib, k << 17, 1 << 17, 0, uint64(len(large))})
	}
	table("aliases-of-64-mib", large, 256<<17, aliases...)
	addDMG("stored-in-64-mib", func() *file { // ADC that only stores, 128 bytes behind each first one
		const run = 129
		p := bytes.Repeat(append([]byte{0xff}, make([]byte, run-1)...), 62<<20/128+3)
		var several []chunk
		for k := range uint64(3) {
			several = append(several, chunk{dmgADC, k * 62 << 11, 62 << 11, k * run, 62 << 20 / 128 * run})
		}
		return dmg(p, plist(*mish(several...)), 3*62<<11)
	})
	table("gap", stored, 256, whole, chunk{dmgRaw, 200, 8, 0, 4096}, end)
	table("ignored", stored, 128, chunk{dmgIgnore, 0, 128, 1 << 62, 1 << 62}, end)
}
