package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"instar/internal/program"
)

// Differencing disks, which no program here makes: dynamic ones that are given a
// parent. Of the first block of a disk the child has what a bitmap says, or all
// of it; of the second nothing; of the third all of it.

const (
	childSize = 6 << 20
	childUnit = 2 << 20 // block
)

func parentContent() []byte { return bytes.Repeat([]byte("parent. "), childSize/8) }

func childContent() []byte {
	p := make([]byte, childSize)
	copy(p, bytes.Repeat([]byte("child.. "), childUnit/8))
	copy(p[2*childUnit:], bytes.Repeat([]byte("Child.. "), childUnit/8))
	return p
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// disks makes the two disks of each format, once.
var disks = map[string]func(*testing.T) (base, child []byte){"vpc": makeDisks("vpc", "force_size=on"), "vhdx": makeDisks("vhdx", "block_size=2M,block_state_zero=off")}

func makeDisks(format, options string) func(*testing.T) (base, child []byte) {
	var once sync.Once
	var made [2][]byte
	return func(t *testing.T) (base, child []byte) {
		once.Do(func() {
			folder := t.TempDir()
			for k, content := range [][]byte{parentContent(), childContent()} {
				write(t, filepath.Join(folder, "raw"), content)
				program.MustRun(t, folder, nil, program.Instar(), "convert", "-f", "raw", "-O", format, "-o", options, "raw", "image")
				made[k] = read(t, filepath.Join(folder, "image"))
			}
		})
		return made[0], bytes.Clone(made[1])
	}
}

// family writes base and child images of a format into a folder, which name
// parents as given, and returns the content of the child over its parent.
func family(t *testing.T, folder, format string, parents ...string) []byte {
	t.Helper()
	base, child := disks[format](t)
	if base == nil || child == nil {
		t.Fatal("the disks could not be made")
	}
	want, parent := childContent(), parentContent()
	copy(want[childUnit:2*childUnit], parent[childUnit:])
	if format == "vpc" {
		child = adoptVHD(base, child, parents)
		// The child has only the odd sectors of its first block.
		for sector := 0; sector < childUnit/512; sector += 2 {
			copy(want[sector*512:][:512], parent[sector*512:])
		}
	} else {
		child = adoptVHDX(base, child, parents)
	}
	write(t, filepath.Join(folder, "base."+format), base)
	write(t, filepath.Join(folder, "child."+format), child)
	return want
}

func sum(p []byte) (n uint32) {
	for _, b := range p {
		n += uint32(b)
	}
	return n
}

// adoptVHD gives a dynamic disk a parent: parents are the names in its relative
// and its absolute locator, and in its header.
func adoptVHD(base, child []byte, parents []string) []byte {
	be := binary.BigEndian
	footer := bytes.Clone(child[:512])
	be.PutUint32(footer[60:], 4)
	be.PutUint32(footer[64:], 0)
	be.PutUint32(footer[64:], ^sum(footer))
	copy(child, footer)
	header := child[512:1536]
	copy(header[40:], base[68:84]) // the unique ID in its footer
	child = child[:len(child)-512]
	for k, name := range parents {
		if k == 2 {
			for i, u := range utf16.Encode([]rune(name)) {
				be.PutUint16(child[512+64+2*i:], u)
			}
			continue
		}
		text := make([]byte, 0, 512)
		for _, u := range utf16.Encode([]rune(name)) {
			text = binary.LittleEndian.AppendUint16(text, u)
		}
		locator := child[512+576+24*k:]
		copy(locator, []string{"W2ru", "W2ku"}[k])
		be.PutUint32(locator[4:], 512)
		be.PutUint32(locator[8:], uint32(len(text)))
		be.PutUint64(locator[16:], uint64(len(child)))
		child = append(child, text...)
		child = append(child, make([]byte, (512-len(text)%512)%512)...)
	}
	bitmap := int64(be.Uint32(child[1536:])) * 512 // of the first block
	copy(child[bitmap:], bytes.Repeat([]byte{0x55}, 512))
	return append(child, footer...)
}

// adoptVHDX gives a dynamic disk a parent: parents are the values of
// relative_path, volume_path and absolute_win32_path.
func adoptVHDX(base, child []byte, parents []string) []byte {
	le := binary.LittleEndian
	link := base[128<<10+32:][:16] // the second header's data write GUID
	linkage := fmt.Sprintf("{%08x-%04x-%04x-%x-%x}", le.Uint32(link), le.Uint16(link[4:]), le.Uint16(link[6:]), link[8:10], link[10:])
	item := []byte{0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13}
	keys, values := []string{"parent_linkage"}, []string{linkage}
	for k, name := range parents {
		keys, values = append(keys, []string{"relative_path", "volume_path", "absolute_win32_path"}[k]), append(values, name)
	}
	item = le.AppendUint32(item, uint32(len(keys))<<16)
	at := len(item) + 12*len(keys)
	var text []byte
	for k := range keys {
		key, value := utf16.Encode([]rune(keys[k])), utf16.Encode([]rune(values[k]))
		item = le.AppendUint32(item, uint32(at+len(text)))
		item = le.AppendUint32(item, uint32(at+len(text)+2*len(key)))
		item = le.AppendUint32(item, uint32(2*len(key))|uint32(2*len(value))<<16)
		for _, u := range slices.Concat(key, value) {
			text = le.AppendUint16(text, u)
		}
	}
	item = append(item, text...)
	const metadata, itemAt = 3 << 20, 128 << 10
	table := child[metadata:]
	count := le.Uint16(table[10:])
	le.PutUint16(table[10:], count+1)
	entry := table[32+32*int(count):]
	copy(entry, []byte{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c})
	le.PutUint32(entry[16:], itemAt)
	le.PutUint32(entry[20:], uint32(len(item)))
	le.PutUint32(entry[24:], 4)
	copy(table[itemAt:], item)
	table[64<<10+4] |= 2 // the parameters: has a parent
	return child
}

func TestParentsAreFollowed(t *testing.T) {
	for _, format := range []string{"vpc", "vhdx"} {
		for name, parents := range map[string][]string{
			"relative":               {`.\base.` + format},
			"absolute, as a sibling": {"", `C:\vm\base.` + format},
			"the last name":          {"", "", `D:\other\base.` + format},
			"relative first":         {`base.` + format, `C:\vm\child.` + format},
			"the first that is here": {`gone.` + format, `C:\vm\base.` + format},
		} {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				folder := t.TempDir()
				want := family(t, folder, format, parents...)
				program.MustRun(t, folder, nil, program.Instar(), "dd", "if=child."+format, "of=out")
				if !bytes.Equal(read(t, filepath.Join(folder, "out")), want) {
					t.Error("the content is another")
				}
			})
		}
	}
}

// Hostile names in parent locators: nothing is opened outside the folder of the
// image, and the refusal is the same whether there is something or not.
func TestParentsOutsideAreRefused(t *testing.T) {
	const outside = "' is outside the folders in which images may name files (see --allow-path)"
	const protocol = "' names a protocol, and images may name local files only"
	const missing = ": No such file or directory"
	for _, format := range []string{"vpc", "vhdx"} {
		for name, why := range map[string]string{
			"/etc/passwd":                           "Could not open 'passwd'" + missing, // beside the image
			"/etc/no-such-file":                     "Could not open 'no-such-file'" + missing,
			`..\..\..\..\..\..\..\etc\passwd`:       "'../../../../../../../etc/passwd" + outside,
			`..\..\..\..\..\..\..\etc\no-such-file`: "'../../../../../../../etc/no-such-file" + outside,
			`..\secret`:                             "'../secret" + outside,
			"http://example.com/base":               "'http://example.com/base" + protocol,
			`json:{"driver":"file"}`:                `'json:{"driver":"file"}` + protocol,
			`\\server\share\gone`:                   "Could not open 'gone'" + missing,
			`C:\gone`:                               "Could not open 'gone'" + missing,
			"child." + format:                       "the chain comes back to 'child." + format + "'",
			"sub":                                   "'file' driver requires 'sub' to be a regular file",
			strings.Repeat("x", 250):                "Could not open '" + strings.Repeat("x", 250) + "'" + missing,
		} {
			t.Run(format+"/"+strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
				t.Parallel()
				folder := filepath.Join(t.TempDir(), "images")
				if err := os.MkdirAll(filepath.Join(folder, "sub"), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(folder, "..", "secret"), []byte("secret"))
				family(t, folder, format, name)
				r := program.Run(t, folder, nil, program.Instar(), "dd", "if=child."+format, "of=out")
				if want := "instar: Could not open 'child." + format + "': Could not open backing file: " + why + "\n"; r.Code != 1 || r.Stderr != want {
					t.Errorf("exit code %d\n%s\nwant %s", r.Code, r.Stderr, want)
				}
				if _, err := os.Lstat(filepath.Join(folder, "out")); err == nil {
					t.Error("there is an output")
				}
			})
		}
	}
}
