package hostile

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A file is the content of an image file, as it is put together.
type file []byte

// at returns n bytes at an offset; the file grows to have them.
func (f *file) at(off, n int) []byte {
	if need := off + n; need > len(*f) {
		*f = append(*f, make([]byte, need-len(*f))...)
	}
	return (*f)[off:][:n]
}

func (f *file) put(off int, p []byte)       { copy(f.at(off, len(p)), p) }
func (f *file) text(off int, s string)      { copy(f.at(off, len(s)), s) }
func (f *file) be16(off int, v uint16)      { binary.BigEndian.PutUint16(f.at(off, 2), v) }
func (f *file) be32(off int, v uint32)      { binary.BigEndian.PutUint32(f.at(off, 4), v) }
func (f *file) be64(off int, v uint64)      { binary.BigEndian.PutUint64(f.at(off, 8), v) }
func (f *file) le16(off int, v uint16)      { binary.LittleEndian.PutUint16(f.at(off, 2), v) }
func (f *file) le32(off int, v uint32)      { binary.LittleEndian.PutUint32(f.at(off, 4), v) }
func (f *file) le64(off int, v uint64)      { binary.LittleEndian.PutUint64(f.at(off, 8), v) }
func (f *file) fill(off, n int, value byte) { copy(f.at(off, n), bytes.Repeat([]byte{value}, n)) }
func (f *file) cut(n int)                   { *f = (*f)[:n] }

// A folder is where an attack takes place: what it names outside is the
// canary, which nobody may open.
type folder struct {
	t      *testing.T
	path   string
	canary string // an absolute path, in the folder above
	format string // to force with -f; "" has it detected
}

// write writes a file into the folder.
func (d *folder) write(name string, content []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), content, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// sparse writes a file of a length; content is its beginning.
func (d *folder) sparse(name string, content []byte, length int64) {
	d.t.Helper()
	d.write(name, content)
	if err := os.Truncate(filepath.Join(d.path, name), length); err != nil {
		d.t.Fatal(err)
	}
}

func (d *folder) link(target, name string) {
	d.t.Helper()
	if err := os.Symlink(target, filepath.Join(d.path, name)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *folder) pipe(name string) {
	d.t.Helper()
	if err := syscall.Mkfifo(filepath.Join(d.path, name), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// deflated returns p as a raw deflate stream.
func deflated(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	w.Write(p)
	w.Close()
	return b.Bytes()
}

func zstded(p []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(p, nil)
}

// crc32c is the checksum of VHDX: of p with zeros at 4 to 8.
func crc32c(p []byte) uint32 {
	q := bytes.Clone(p)
	clear(q[4:8])
	return crc32.Checksum(q, crc32.MakeTable(crc32.Castagnoli))
}

// utf16 returns s in UTF-16, which has to be ASCII.
func utf16(s string, order binary.ByteOrder) []byte {
	p := make([]byte, 2*len(s))
	for k := range len(s) {
		order.PutUint16(p[2*k:], uint16(s[k]))
	}
	return p
}

// edges are sizes in bytes at which arithmetic goes wrong.
var edges = map[string]uint64{
	"0": 0, "1": 1, "511": 511, "2-31-1": 1<<31 - 1, "2-31": 1 << 31, "2-32-1": 1<<32 - 1, "2-32": 1 << 32,
	"2-40": 1 << 40, "2-50": 1 << 50, "2-53": 1 << 53, "2-62": 1 << 62, "2-63-512": 1<<63 - 512, "2-63-1": 1<<63 - 1,
	"2-63": 1 << 63, "2-64-512": 1<<64 - 512, "2-64-1": 1<<64 - 1,
}

// names are what an image may call a file that it stands on, and must not reach.
func names(d *folder) map[string]string {
	return map[string]string{
		"absolute":  d.canary,
		"dot-dot":   "../canary",
		"inside":    "./sub/../../canary",
		"link":      "link",          // a symbolic link to the canary
		"link-in":   "folder/canary", // through one to the folder above
		"passwd":    "/etc/passwd",
		"shadow":    "/etc/shadow",
		"proc":      "/proc/self/environ",
		"device":    "/dev/zero",
		"pipe":      "pipe",
		"directory": ".",
		"json":      `json:{"driver":"raw","file":{"driver":"file","filename":"` + d.canary + `"}}`,
		"nbd":       "nbd:127.0.0.1:10809",
		"http":      "http://127.0.0.1:9/x",
		"file":      "file:" + d.canary,
		"fd":        "fd:3",
		"unc":       `\\host\share\x.img`,
		"drive":     `C:\x.img`,
		"missing":   "no-such-file",
		"nul":       "in\x00" + d.canary,
		"escape":    "\x1b]0;x\x07\x1b[31m\r\nsecond line",
		"utf8":      "\xff\xfe\xc0\x80",
		"long":      strings.Repeat("a/", 500),
		"itself":    "image",
	}
}

// surround puts into the folder what names name.
func surround(d *folder) {
	d.link("../canary", "link")
	d.link("..", "folder")
	d.pipe("pipe")
	if err := os.Mkdir(filepath.Join(d.path, "sub"), 0o755); err != nil {
		d.t.Fatal(err)
	}
}
