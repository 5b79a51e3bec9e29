package hostile

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"instar/internal/program"
)

// known are attacks that were made on other programs, and the images here that
// make them; those that have a number are in cves.
var known = []struct {
	attack string
	images []string
}{
	{"zlib bomb, zstd bomb in qcow2", []string{"qcow2/deflate-bomb", "qcow2/zstd-bomb", "qcow2/zstd-window"}},
	{"circular chains of 2 and of 3, an image that stands on itself", []string{"qcow2/loop-of-2", "qcow2/loop-of-3", "qcow2/backing-itself"}},
	{"chains as deep as may be, and deeper", []string{"qcow2/chain-of-15", "qcow2/chain-of-16", "qcow2/chain-of-17"}},
	{"L1 table too large, or of nothing", []string{"qcow2/l1-size-0xffffffff", "qcow2/l1-size-0x0"}},
	{"cluster_bits of 8 and 22", []string{"qcow2/cluster-bits-0x8", "qcow2/cluster-bits-0x16"}},
	{"refcount_order of 7 and 255", []string{"qcow2/refcount-order-0x7", "qcow2/refcount-order-0xff"}},
	{"virtual size of 1 PiB and of 2^64-1", []string{"qcow2/size-2-50", "qcow2/size-fit-2-50", "qcow2/size-2-64-1"}},
	{"vmdk grain of nothing, and huge", []string{"vmdk/grain-0x0", "vmdk/grain-0x8000000000000000"}},
	{"vhdx headers that conflict", []string{"vhdx/headers-conflict"}},
	{"BAT behind the end of the file", []string{"vpc/bat-entry-0x40000000", "vpc/table-0x10000000000", "vhdx/bat-region-0x10000000000", "vhdx/bat-entry-present-0x10000000000"}},
	{"polyglots", []string{"qcow2/polyglot-vmdk", "qcow2/polyglot-elf", "qcow2/polyglot-vhd"}},
	{"headers cut short", []string{"qcow2/version-2-cut-48", "vmdk/cut-4", "vpc/footer-cut"}},
	{"vmdk descriptors with NUL, with many extents, huge", []string{"vmdk/nul", "vmdk/nul-in-name", "vmdk/flood-of-extents", "vmdk/flood-of-keys", "vmdk/huge"}},
	{"dmg trailer cut short", []string{"dmg/koly-truncated", "dmg/koly-cut-from-the-front"}},
	{"dmg of a negative size, taken for raw when it is detected", []string{"dmg/undetected", "dmg/sectors-negative"}},
	{"dmg of 128 PiB, without a table, with an empty one", []string{"dmg/sectors-128-pib", "dmg/table-missing", "dmg/table-empty"}},
	{"dmg chunks that are too long", []string{"dmg/length-over-64-mib", "dmg/count-over-131072", "dmg/chunk-of-4-mib"}},
	{"dmg chunks that are garbage", []string{"dmg/garbage-adc", "dmg/garbage-bzip2", "dmg/garbage-lzfse", "dmg/garbage-zlib"}},
	{"vdi of a bad version, map not aligned, blocks not of 1 MiB", []string{"vdi/version-0x0", "vdi/map-0x1ff", "vdi/block-0x10000"}},
	{"vdi with a parent, with too many blocks", []string{"vdi/parent-0x1", "vdi/blocks-0xffffffff"}},
	{"parallels tracks of nothing, and huge", []string{"parallels/tracks-0x0", "parallels/tracks-0xffffffff"}},
	{"parallels with a huge catalog, with a bad extension", []string{"parallels/entries-0xffffffff", "parallels/ext-extensions-0x1"}},
	{"qcow cluster bits of 17, L2 bits of 14, huge", []string{"qcow/bits-17-9", "qcow/bits-12-14", "qcow/size-2-63"}},
	{"qcow encryption of kind 2, name of 1024 bytes", []string{"qcow/crypt-2", "qcow/backing-name-1024"}},
	{"backing file that is a file of the system", []string{"qcow2/backing-passwd", "qcow/backing-passwd", "qed/backing-passwd"}},
	{"NUL in the name of a backing file", []string{"qcow2/backing-nul", "qcow/backing-nul", "qed/backing-nul"}},
	{"vmdk extents that are files of the system, or none", []string{"vmdk/flat-shadow", "vmdk/sparse-shadow", "vmdk/no-extents"}},
	{"file content that is a json: name", []string{"raw/json"}},
	{"parent locators: absolute, dot-dot, URL, UNC", []string{"vpc/parent-W2ku-passwd", "vpc/parent-W2ru-dot-dot", "vpc/parent-MacX-http", "vpc/parent-W2ku-unc", "vhdx/parent-passwd", "vhdx/parent-dot-dot", "vhdx/parent-http", "vhdx/parent-unc"}},
	{"parent locators: overlong, conflicting", []string{"vpc/parent-overlong", "vpc/parent-W2ru-long", "vhdx/parent-long", "vpc/parent-conflict"}},
}

// TestKnown: each of those is in the corpus, with an outcome for each command.
func TestKnown(t *testing.T) {
	want := outcomes(t)
	for _, k := range known {
		for _, name := range k.images {
			if !slices.ContainsFunc(attacks, func(a attack) bool { return a.name == name }) {
				t.Errorf("%s: there is no %s", k.attack, name)
			}
			for _, command := range commands {
				if want[name+" "+command] == "" {
					t.Errorf("%s: no outcome of %s %s", k.attack, name, command)
				}
			}
		}
	}
}

// TestOnlyWhatIsStored: an image of 1 PiB with two clusters in it, the last one
// of them, is converted behind either wall by what is stored.
func TestOnlyWhatIsStored(t *testing.T) {
	const size = 1 << 50
	for _, wall := range program.Walls() {
		t.Run(wall, func(t *testing.T) {
			d := newFolder(t)
			f := new(file) // clusters of 2 MiB: header, refcount table, L1, two L2, two of data
			const at = 2 << 20
			f.put(0, (*qcow2())[:112])
			f.be32(20, 21)
			f.be64(24, size)
			f.be32(36, size>>39)
			f.be64(40, 2*at)
			f.be64(48, at)
			f.be64(2*at, 3*at|1<<63)
			f.be64(2*at+8*(size>>39-1), 4*at|1<<63)
			f.be64(3*at, 5*at|1<<63)
			f.be64(5*at-8, 6*at|1<<63)
			f.fill(5*at, at, 0x31)
			f.fill(6*at, at, 0x32)
			d.write("image", *f)
			for _, args := range [][]string{
				{"info", "--sandbox=" + wall, "image"},
				{"convert", "--sandbox=" + wall, "-O", "qcow2", "image", "out"},
				{"dd", "--sandbox=" + wall, "-O", "raw", "bs=1M", "skip=1073741822", "if=out", "of=end"},
			} {
				if r := d.run(args); r.code != 0 {
					t.Fatalf("%q: %s", args, r.stderr)
				}
			}
			// 16 MiB of it are the L1 table that its clusters of 64 KiB need.
			if st, err := os.Stat(filepath.Join(d.path, "out")); err != nil || st.Size() > 24<<20 {
				t.Errorf("written: %v, %v", st, err)
			}
			if got, err := os.ReadFile(filepath.Join(d.path, "end")); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{0x32}, at)) {
				t.Errorf("the end differs (%d bytes, %v)", len(got), err)
			}
		})
	}
}

// TestMemory: neither the smallest clusters nor the greatest disk take more memory
// than promised, guest included.
func TestMemory(t *testing.T) {
	const promised = 256 << 20
	for _, test := range []struct {
		name     string
		bits     int   // of the cluster size
		size     int64 // of the disk
		tables   int   // of clusters, each with one of data
		commands []string
	}{
		{"clusters of 512 bytes", 9, 128 << 30, 4000, []string{"info image", "dd bs=1M count=512 -O raw if=image of=out", "convert -O vmdk image out", "convert -O qcow2 -o cluster_size=512 image out"}},
		{"64 TiB", 16, 64 << 40, 500, []string{"info image", "dd bs=1M count=512 -O raw if=image of=out", "convert -O qcow2 image out", "convert -c -O qcow2 image out"}},
	} {
		d := newFolder(t)
		d.write("image", *spread(test.bits, test.size, test.tables))
		for _, wall := range program.Walls() {
			for _, command := range test.commands {
				words := strings.Fields(command)
				r := d.run(slices.Insert(words, 1, "--sandbox="+wall))
				if r.code != 0 || r.memory > promised {
					t.Errorf("%s, %s behind %s: exit code %d, %d MiB\n%s", test.name, command, wall, r.code, r.memory>>20, r.stderr)
				}
				t.Logf("%s, %s behind %s: %d MiB", test.name, command, wall, r.memory>>20)
				os.Remove(filepath.Join(d.path, "out"))
			}
		}
	}
}

// spread returns a qcow2 image that has so many tables of clusters, evenly spread
// over the disk, each with one cluster of data in it.
func spread(bits int, size int64, tables int) *file {
	cluster := 1 << bits
	entries := int(size >> (2*bits - 3)) // of L1
	l1 := (1024 + cluster - 1) &^ (cluster - 1)
	at := (l1 + 8*entries + cluster - 1) &^ (cluster - 1)
	f := new(file)
	f.put(0, (*qcow2())[:112])
	f.at(0, at+2*tables*cluster)
	f.be32(20, uint32(bits))
	f.be64(24, uint64(size))
	f.be32(36, uint32(entries))
	f.be64(40, uint64(l1))
	f.be64(48, uint64(l1)) // not looked at
	for k := range tables {
		f.be64(l1+8*(k*entries/tables), uint64(at)|1<<63)
		f.be64(at+8*(k%(cluster/8)), uint64(at+cluster)|1<<63)
		f.fill(at+cluster, cluster, byte(k)|1)
		at += 2 * cluster
	}
	return f
}
