package hostile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"instar/internal/program"
)

// cves are the holes of QEMU, and of the services that trusted it, which
// images made use of. What comes of each image is in testdata/outcomes.
var cves = []struct {
	id, what string
	images   []string
}{
	{
		id: "CVE-2008-1945", what: "the format of raw content is detected from what a guest wrote",
		images: []string{"raw/magic-ones-QFI", "qcow2/backing-absolute"},
	},
	{
		id: "CVE-2008-2004", what: "the same, of a disk that is written to",
		images: []string{"raw/magic-ones-QFI", "qcow2/backing-passwd"},
	},
	{
		id: "CVE-2014-0142", what: "division by zero: sizes of nothing in headers",
		images: []string{"parallels/tracks-0x0", "vpc/block-0x0", "vhdx/item-parameters-0x0", "vmdk/grain-0x0", "vdi/block-0x0"},
	},
	{
		id: "CVE-2014-0143", what: "products and sums that overflow",
		images: []string{"qcow2/l1-size-0x20000000", "qcow2/refcount-clusters-0xffffffff", "parallels/entries-0xffffffff", "vdi/blocks-0x20000000", "dmg/length-over-64-mib"},
	},
	{
		id: "CVE-2014-0144", what: "sizes of tables that are not checked",
		images: []string{"vdi/blocks-0xffffffff", "vpc/entries-0xffffffff", "qcow2/l1-size-0xffffffff", "qcow2/snapshots-0xffffffff", "qcow2/header-length-0xffffffff", "vhdx/metadata-count-0x20000000", "dmg/count-over-131072"},
	},
	{
		id: "CVE-2014-0145", what: "content that is longer than the buffer it is read into",
		images: []string{"qcow2/snapshots-0xffffffff", "qcow2/snapshot-extra-huge", "dmg/length-over-64-mib", "dmg/count-over-131072", "qcow2/backing-name-huge"},
	},
	{
		id: "CVE-2014-0146", what: "a table of snapshots that cannot be read is used",
		images: []string{"qcow2/snapshots-0x1", "qcow2/snapshot-table-0x10000000000", "qcow2/snapshot-l1-huge"},
	},
	{
		id: "CVE-2014-0147", what: "offsets of snapshots and of reference counts that do not fit their types",
		images: []string{"qcow2/refcount-offset-0x7fffffffffffffff", "qcow2/snapshot-table-0x7fffffffffffffff", "qcow2/snapshot-l1-offset", "dmg/sectors-negative"},
	},
	{
		id: "CVE-2014-0148", what: "a vhdx log and tables that never end",
		images: []string{"vhdx/log-length-0x1", "vhdx/log-zero-bomb", "vhdx/metadata-count-0x20000000", "vhdx/headers-conflict"},
	},
	{
		id: "CVE-2014-0222", what: "qcow: L2 tables larger than may be",
		images: []string{"qcow/bits-12-14", "qcow/bits-17-9"},
	},
	{
		id: "CVE-2014-0223", what: "qcow: sizes that overflow the number of tables",
		images: []string{"qcow/size-2-63-512", "qcow/size-2-63", "qcow/size-2-64-1"},
	},
	{
		id: "CVE-2015-5162", what: "an image that costs time and memory to look at",
		images: []string{"qcow2/l1-size-0x400000", "qcow2/aliases-million", "vmdk/flood-of-extents", "vmdk/flood-of-files", "dmg/list-deep"},
	},
	{id: "CVE-2015-1850", what: "a backing file of the host", images: []string{"qcow2/backing-absolute", "qcow2/backing-dot-dot", "qcow2/backing-link"}},
	{id: "CVE-2015-1851", what: "a backing file of the host, in an image that was uploaded as raw", images: []string{"qcow2/backing-shadow", "qed/backing-passwd", "qcow/backing-passwd"}},
	{id: "CVE-2015-5163", what: "a backing file of the host, in an image that is imported", images: []string{"qcow2/backing-absolute", "qcow2/backing-json", "qcow2/backing-proc", "vmdk/parent-passwd"}},
	{
		id: "CVE-2022-47951", what: "a vmdk extent of the host",
		images: []string{"vmdk/flat-passwd", "vmdk/flat-absolute", "vmdk/vmfs-absolute", "vmdk/sparse-shadow", "vmdk/crlf-and-tabs", "vmdk/capacity-0-elsewhere"},
	},
	{
		id: "CVE-2024-32498", what: "an external data file of the host",
		images: []string{"qcow2/data-file-absolute", "qcow2/data-file-dot-dot", "qcow2/data-file-link", "qcow2/data-file-passwd"},
	},
	{
		id: "CVE-2024-4467", what: "a data file that is a json: or nbd: name, which info opens",
		images: []string{"qcow2/data-file-json", "qcow2/data-file-nbd", "qcow2/data-file-fd", "qcow2/data-file-device"},
	},
	{id: "CVE-2026-24708", what: "a header that a guest wrote where raw content is written to", images: []string{"raw/magic-ones-QFI"}},
	{
		id: "CVE-2026-2243", what: "a vmdk grain whose marker says that it is shorter than the marker",
		images: []string{"vmdk/stream-size-misses-marker", "vmdk/stream-size-0", "vmdk/stream-size-past-end"},
	},
}

// TestCVEs has every command on each of them, in the jail and, for the first
// image of each, in the microVM: it comes out as is recorded, no file outside
// is opened, and --strict fails.
func TestCVEs(t *testing.T) {
	want := outcomes(t)
	for _, cve := range cves {
		t.Run(cve.id, func(t *testing.T) {
			t.Parallel()
			for k, name := range cve.images {
				if !slices.ContainsFunc(attacks, func(a attack) bool { return a.name == name }) {
					t.Errorf("%s: there is no %s", cve.what, name)
					continue
				}
				if strings.HasPrefix(want[name+" strict"], "0 ") {
					t.Errorf("%s: --strict lets %s pass: %q", cve.what, name, want[name+" strict"])
				}
				d := newFolder(t)
				find(name).make(d)
				for _, wall := range program.Walls()[:min(2-min(k, 1), len(program.Walls()))] {
					for _, command := range commands {
						if is := d.attempt(command, wall); is != want[name+" "+command] {
							t.Errorf("%s: %s of %s behind %s: %s; want %s", cve.what, command, name, wall, is, want[name+" "+command])
						}
					}
				}
			}
		})
	}
}

// TestContentIsNotLookedAt: content that was said to be raw, and begins with the
// header of an image that names the canary, stays what it is, wherever it is read
// from or written to (CVE-2008-1945, CVE-2008-2004, CVE-2026-24708).
func TestContentIsNotLookedAt(t *testing.T) {
	for header, make := range map[string]func(d *folder) []byte{
		"qcow2": func(d *folder) []byte { return *backed(qcow2(), d.canary) },
		"vmdk": func(d *folder) []byte {
			return []byte(descriptor("monolithicFlat", fmt.Sprintf("RW 2048 FLAT \"%s\" 0", d.canary)))
		},
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			d := newFolder(t)
			content := append(make(d), bytes.Repeat([]byte("content. "), 1<<16)...)
			content = content[:len(content)/512*512]
			d.write("content", content)
			opened := d.watch()
			steps := [][]string{
				{"dd", "-f", "raw", "if=content", "of=out"},
				{"convert", "-f", "raw", "-O", "raw", "content", "out"},
				{"convert", "-f", "raw", "-O", "qcow2", "content", "out.qcow2"},
				{"convert", "-O", "raw", "out.qcow2", "out"},
				{"convert", "-n", "-f", "raw", "-O", "raw", "content", "there"},
				{"create", "-f", "qcow2", "-b", "content", "-F", "raw", "over"},
				{"convert", "-O", "raw", "over", "out"},
				{"convert", "-f", "raw", "-O", "qcow2", "-B", "there", "-F", "raw", "content", "over2"},
				{"convert", "-O", "raw", "over2", "out"},
				{"compare", "-f", "raw", "-F", "raw", "content", "there"},
			}
			for _, args := range steps {
				d.write("there", content)
				if r := d.run(args); r.code != 0 {
					t.Fatalf("%q: %s", args, r.stderr)
				}
				written := args[len(args)-1]
				if args[0] == "dd" {
					written = "out"
				}
				if written != "out" && written != "there" {
					continue
				}
				if got, err := os.ReadFile(filepath.Join(d.path, written)); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%q: the content is another (%d bytes, %v)", args, len(got), err)
				}
			}
			// Without a word about its format it is what it looks like, and refused.
			for _, args := range [][]string{{"dd", "if=content", "of=no"}, {"convert", "-O", "raw", "content", "no"}, {"info", "--strict", "content"}} {
				if r := d.run(args); r.code != 1 || !strings.Contains(r.stderr, "canary") {
					t.Errorf("%q: exit code %d, %s", args, r.code, r.stderr)
				}
			}
			if opened() {
				t.Error("the canary was opened")
			}
		})
	}
}
