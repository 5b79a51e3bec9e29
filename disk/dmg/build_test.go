package dmg

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"instar/disk/internal/lzfse/lzfsetest"
)

// A stored is a chunk as it is to be written.
type stored struct {
	kind    uint32
	sectors uint64
	data    []byte
}

// A builder makes an image: its chunks follow each other on the disk and in the
// file.
type builder struct {
	chunks  []stored
	first   uint64                // sector of the first
	before  int                   // bytes before the data fork
	sectors int64                 // of the disk; 0 is the sum
	fork    bool                  // tables in a resource fork, not in a property list
	split   int                   // chunks of the first of two tables
	extra   string                // in the property list
	entry   func(k int, p []byte) // changes an entry
	trailer func(p []byte)        // changes the trailer
	table   func(p []byte) []byte // changes a table
}

// image returns the image file.
func (b builder) image() []byte {
	out := bytes.Repeat([]byte{0xee}, b.before)
	be := binary.BigEndian
	var entries [][]byte
	sector := b.first
	for k, c := range b.chunks {
		p := make([]byte, chunkSize)
		be.PutUint32(p, c.kind)
		be.PutUint64(p[8:], sector)
		be.PutUint64(p[16:], c.sectors)
		be.PutUint64(p[24:], uint64(len(out)-b.before))
		be.PutUint64(p[32:], uint64(len(c.data)))
		if b.entry != nil {
			b.entry(k, p)
		}
		entries = append(entries, p)
		out = append(out, c.data...)
		sector += c.sectors
	}
	parts := [][][]byte{entries}
	if b.split > 0 {
		parts = [][][]byte{entries[:b.split], entries[b.split:]}
	}
	var list [][]byte
	for _, part := range parts {
		list = append(list, b.tableOf(part))
	}
	at := len(out)
	if b.fork {
		out = append(out, forkOf(list)...)
	} else {
		out = append(out, plistOf(list, b.extra)...)
	}
	t := make([]byte, trailerSize)
	copy(t, magic)
	be.PutUint32(t[4:], 4)
	be.PutUint32(t[8:], trailerSize)
	be.PutUint32(t[12:], 1)
	be.PutUint64(t[0x18:], uint64(b.before))
	be.PutUint64(t[0x20:], uint64(at-b.before))
	be.PutUint32(t[0x38:], 1) // segment 1 of 1
	be.PutUint32(t[0x3c:], 1)
	if b.fork {
		be.PutUint64(t[0x28:], uint64(at))
		be.PutUint64(t[0x30:], uint64(len(out)-at))
	} else {
		be.PutUint64(t[0xd8:], uint64(at))
		be.PutUint64(t[0xe0:], uint64(len(out)-at))
	}
	be.PutUint32(t[0x1e8:], 1)
	if b.sectors == 0 {
		b.sectors = int64(sector)
	}
	be.PutUint64(t[0x1ec:], uint64(b.sectors))
	if b.trailer != nil {
		b.trailer(t)
	}
	return append(out, t...)
}

// tableOf returns a table of entries, whose sectors are relative to its first.
func (b builder) tableOf(entries [][]byte) []byte {
	be := binary.BigEndian
	p := make([]byte, tableHeader)
	copy(p, tableMagic)
	be.PutUint32(p[4:], 1)
	if len(entries) > 0 {
		first, last := entries[0], entries[len(entries)-1]
		be.PutUint64(p[8:], be.Uint64(first[8:]))
		be.PutUint64(p[16:], be.Uint64(last[8:])+be.Uint64(last[16:])-be.Uint64(first[8:]))
	}
	be.PutUint32(p[200:], uint32(len(entries)+1))
	start := be.Uint64(p[8:])
	for _, e := range entries {
		e = bytes.Clone(e)
		be.PutUint64(e[8:], be.Uint64(e[8:])-start)
		p = append(p, e...)
	}
	end := make([]byte, chunkSize)
	be.PutUint32(end, kindTerminator)
	be.PutUint64(end[8:], be.Uint64(p[16:]))
	p = append(p, end...)
	if b.table != nil {
		p = b.table(p)
	}
	return p
}

func forkOf(list [][]byte) []byte {
	be := binary.BigEndian
	p := make([]byte, 256)
	for _, table := range list {
		p = append(be.AppendUint32(p, uint32(len(table))), table...)
	}
	be.PutUint32(p, 256)
	be.PutUint32(p[4:], uint32(len(p)))
	be.PutUint32(p[8:], uint32(len(p)-256))
	return append(p, "the map, which is not looked at"...)
}

func plistOf(list [][]byte, extra string) []byte {
	var p bytes.Buffer
	p.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>resource-fork</key>
	<dict>
		<key>blkx</key>
		<array>
`)
	for k, table := range list {
		fmt.Fprintf(&p, "\t\t\t<dict>\n\t\t\t\t<key>Attributes</key>\n\t\t\t\t<string>0x0050</string>\n\t\t\t\t<key>Data</key>\n\t\t\t\t<data>\n")
		for coded := base64.StdEncoding.EncodeToString(table); coded != ""; {
			n := min(52, len(coded))
			fmt.Fprintf(&p, "\t\t\t\t%s\n", coded[:n])
			coded = coded[n:]
		}
		fmt.Fprintf(&p, "\t\t\t\t</data>\n\t\t\t\t<key>ID</key>\n\t\t\t\t<string>%d</string>\n\t\t\t\t<key>Name</key>\n\t\t\t\t<string>part%d</string>\n\t\t\t</dict>\n", k, k)
	}
	fmt.Fprintf(&p, "\t\t</array>%s\n\t</dict>\n</dict>\n</plist>\n", extra)
	return p.Bytes()
}

// deflated returns content compressed by zlib.
func deflated(content []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// adc returns content compressed by ADC, with codes of every kind.
func adc(content []byte) []byte {
	var out []byte
	start := 0
	flush := func(end int) {
		for start < end {
			n := min(128, end-start)
			out = append(append(out, byte(0x7f+n)), content[start:start+n]...)
			start += n
		}
	}
	last := map[[4]byte]int{}
	for at := 0; at+4 <= len(content); {
		key := [4]byte(content[at:])
		seen, ok := last[key]
		last[key] = at
		distance, n := at-seen-1, 0
		for ok && distance < 1<<16 && n < 67 && at+n < len(content) && content[seen+n] == content[at+n] {
			n++
		}
		if n < 4 {
			at++
			continue
		}
		flush(at)
		if n <= 18 && distance < 1<<10 {
			out = append(out, byte((n-3)<<2|distance>>8), byte(distance))
		} else {
			out = append(out, byte(0x40|(n-4)), byte(distance>>8), byte(distance))
		}
		at += n
		start = at
	}
	flush(len(content))
	return out
}

// lzfseStream returns content as an LZFSE stream of blocks of the kinds that
// 7-Zip knows.
func lzfseStream(content []byte) []byte {
	var out []byte
	makers := []func([]byte) []byte{lzfsetest.V2, lzfsetest.LZVN}
	for k := 0; len(content) > 0; k++ {
		n := min(9000, len(content))
		out = append(out, makers[k%len(makers)](content[:n])...)
		content = content[n:]
	}
	return append(out, lzfsetest.End...)
}

// text returns n bytes that compress.
func text(n int, what string) []byte {
	var out []byte
	for len(out) < n {
		out = fmt.Appendf(out, "%s, line %d of it\n", what, len(out)*len(out)%1009)
	}
	return out[:n]
}

// bzip2Size is the length of the content of testdata/text.bz2, which is that of
// text(bzip2Size, "bzip2") as bzip2 -9 compresses it.
const bzip2Size = 24 << 10

func bzipped(t testing.TB) []byte {
	t.Helper()
	p, err := os.ReadFile("testdata/text.bz2")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sample is an image with chunks of every kind, and its content.
func sample(t testing.TB) (b builder, want []byte) {
	put := func(kind uint32, content, data []byte) {
		b.chunks = append(b.chunks, stored{kind, uint64(len(content) / 512), data})
		want = append(want, content...)
	}
	zlibbed := text(40<<10, "zlib")
	put(kindZlib, zlibbed, deflated(zlibbed))
	put(kindZero, make([]byte, 7<<10), nil)
	raw := text(9<<10, "raw")
	put(kindRaw, raw, raw)
	b.chunks = append(b.chunks, stored{kindComment, 0, nil})
	put(kindBzip2, text(bzip2Size, "bzip2"), bzipped(t))
	coded := text(30<<10, "adc")
	put(kindADC, coded, adc(coded))
	put(kindIgnore, make([]byte, 512), nil)
	fse := text(60<<10, "lzfse")
	put(kindLZFSE, fse, lzfseStream(fse))
	zlibbed = text(33<<10, "zlib again")
	put(kindZlib, zlibbed, deflated(zlibbed))
	return b, want
}

// mixed is an image with chunks of the kinds that every reader knows.
func mixed() (b builder, want []byte) {
	for k, part := range []struct {
		kind uint32
		size int
	}{{kindRaw, 8 << 10}, {kindZlib, 24 << 10}, {kindZero, 5 << 10}, {kindZlib, 512}, {kindIgnore, 20 << 10}, {kindRaw, 3 << 9}, {kindZlib, 16 << 10}} {
		c := stored{kind: part.kind, sectors: uint64(part.size / 512)}
		content := make([]byte, part.size)
		switch part.kind {
		case kindRaw:
			content = text(part.size, fmt.Sprint("raw ", k))
			c.data = content
		case kindZlib:
			content = text(part.size, fmt.Sprint("zlib ", k))
			c.data = deflated(content)
		}
		b.chunks, want = append(b.chunks, c), append(want, content...)
	}
	return b, want
}
