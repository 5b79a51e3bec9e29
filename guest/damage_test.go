package guest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"instar/disk"
	"instar/disk/all"
	"instar/internal/testutil"
)

// A victim is a sound image whose tables are damaged: where its entries are.
type victim struct {
	name, format string
	order        binary.ByteOrder
	width        int // of an entry, bytes
	make         [][]string
	entries      func(p []byte) []int
	harmless     []string // what qemu-img check complains of, and is well-formed all the same
}

// qcow2Entries are all entries of the tables of a qcow2 image, and the words of
// reference counts.
func qcow2Entries(p []byte) (at []int) {
	be := binary.BigEndian
	cluster := 1 << be.Uint32(p[20:])
	table := func(off, n int) {
		for k := range n {
			at = append(at, off+8*k)
		}
	}
	used := func(off, n int, f func(off int)) {
		table(off, n)
		for k := range n {
			if e := be.Uint64(p[off+8*k:]) & 0xff_ffff_ffff_fe00; e != 0 && e < uint64(len(p)) {
				f(int(e))
			}
		}
	}
	reftable := int(be.Uint64(p[48:]))
	used(reftable, 4, func(off int) { table(off, 8) })
	tree := func(l1, n int) {
		used(l1, n, func(l2 int) { table(l2, min(cluster/8, 48)) })
	}
	tree(int(be.Uint64(p[40:])), int(be.Uint32(p[36:])))
	if be.Uint32(p[60:]) > 0 {
		s := p[be.Uint64(p[64:]):]
		tree(int(be.Uint64(s)), int(be.Uint32(s[8:])))
	}
	for ext := p[be.Uint32(p[100:]):]; be.Uint32(p[4:]) > 2 && be.Uint32(ext) != 0; ext = ext[8+(be.Uint32(ext[4:])+7)&^7:] {
		if be.Uint32(ext) == 0x23852875 {
			directory := p[be.Uint64(ext[24:]):]
			table(int(be.Uint64(directory)), int(be.Uint32(directory[8:])))
		}
	}
	return at
}

func words(off, n, width int) (at []int) {
	for k := range n {
		at = append(at, off+width*k)
	}
	return at
}

func victims() []victim {
	le := binary.LittleEndian
	io := func(commands ...string) []string {
		args := []string{"qemu-io", "-f", "FORMAT"}
		for _, c := range commands {
			args = append(args, "-c", c)
		}
		return append(args, "IMAGE")
	}
	create := func(options, size string) []string {
		args := []string{"qemu-img", "create", "-q", "-f", "FORMAT"}
		if options != "" {
			args = append(args, "-o", options)
		}
		return append(args, "IMAGE", size)
	}
	snapshot := []string{"qemu-img", "snapshot", "-c", "s", "IMAGE"}
	qcow2 := func(name string, make ...[]string) victim {
		return victim{name: name, format: "qcow2", order: binary.BigEndian, width: 8, make: make, entries: qcow2Entries}
	}
	return []victim{
		qcow2("plain", create("", "2M"), io("write 0 256k", "write 512k 64k", "write -z 1M 128k")),
		qcow2("snapshot", create("cluster_size=4k", "256k"), io("write 0 64k", "write 96k 4k"), snapshot, io("write 16k 16k", "write 100k 4k")),
		qcow2("compressed", create("cluster_size=4k", "256k"), io("write -c 0 4k", "write -c 4k 4k", "write -c 8k 4k", "write -c 12k 4k", "write 32k 8k"), snapshot, io("write 0 4k")),
		qcow2("version 2", create("compat=0.10,cluster_size=4k", "256k"), io("write 0 32k"), snapshot, io("write 8k 8k")),
		qcow2("small clusters", create("cluster_size=512,refcount_bits=1", "64k"), io("write 0 40k")),
		qcow2("wide counts", create("cluster_size=4k,refcount_bits=64", "256k"), io("write 0 32k"), snapshot, io("write 8k 8k")),
		qcow2("subclusters", create("extended_l2=on,cluster_size=16k", "512k"), io("write 0 48k", "write 64k 2k", "write -z 96k 1k"), snapshot, io("write 1k 16k")),
		qcow2("preallocated", create("preallocation=metadata,cluster_size=4k", "128k"), io("write -z 8k 8k")),
		qcow2("bitmap", create("cluster_size=4k", "128k"), []string{"qemu-img", "bitmap", "--add", "-g", "512", "IMAGE", "b"}, io("write 0 32k", "write 64k 4k")),
		{
			name: "vdi", format: "vdi", order: le, width: 4,
			make:    [][]string{create("", "12M"), io("write 0 4M", "write 8M 1M")},
			entries: func([]byte) []int { return words(512, 12, 4) },
			harmless: []string{
				"allocated blocks mismatch", // the number in the header, which nothing is read by
				"out of range",              // of that number
			},
		},
		{
			name: "qed", format: "qed", order: le, width: 8,
			make: [][]string{create("", "64M"), io("write 0 512k", "write 40M 128k")},
			entries: func(p []byte) []int {
				l1 := int(le.Uint64(p[40:]))
				l2 := int(le.Uint64(p[l1:]))
				return slices.Concat(words(l1, 1, 8), words(l2, 12, 8), words(l2+8*640, 4, 8))
			},
		},
		{
			name: "parallels", format: "parallels", order: le, width: 4,
			make:    [][]string{create("cluster_size=64k", "1M"), io("write 0 512k", "write 768k 64k")},
			entries: func([]byte) []int { return words(64, 16, 4) },
		},
	}
}

// TestDamagedTables damages entries of the tables of sound images: what qemu-img
// check calls an error is refused, and the image as it was is not.
func TestDamagedTables(t *testing.T) {
	t.Parallel()
	testutil.QemuImg(t)
	for _, v := range victims() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "image")
			for _, args := range v.make {
				args = strings.Split(strings.NewReplacer("FORMAT", v.format, "IMAGE", path).Replace(strings.Join(args, "\x00")), "\x00")
				testutil.Run(t, args[0], args[1:]...)
			}
			sound, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if why := fault(v.format, path); why != "" {
				t.Fatalf("sound, and refused: %s", why)
			}
			r := rand.New(rand.NewPCG(1, 2))
			entries := v.entries(sound)
			refused := 0
			for range 60 {
				p := slices.Clone(sound)
				what := v.damage(r, p, entries)
				if err := os.WriteFile(path, p, 0o600); err != nil {
					t.Fatal(err)
				}
				theirs, errors := v.check(t, path)
				why := fault(v.format, path)
				if why != "" {
					refused++
				}
				if errors && why == "" {
					t.Errorf("%s: well-formed, and qemu-img check says:\n%.600s", what, theirs)
				}
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
		})
	}
}

// TestSoundImages has images that qemu-img and qemu-io made be well-formed, whatever
// their options, having been written to, compressed, and snapshotted.
func TestSoundImages(t *testing.T) {
	t.Parallel()
	testutil.QemuImg(t)
	images := map[string][]string{
		"qed":       {"", "cluster_size=4k,table_size=16", "cluster_size=1M"},
		"vdi":       {"", "static=on"},
		"parallels": {"", "cluster_size=4k"},
		"qcow":      {""},
		"vpc":       {"subformat=dynamic", "subformat=dynamic,force_size=on", "subformat=fixed"},
		"vhdx":      {"", "subformat=fixed", "block_size=1M,log_size=2M"},
		"vmdk":      {"subformat=monolithicSparse", "subformat=streamOptimized", "subformat=monolithicSparse,zeroed_grain=on,compat6=on"},
		"qcow2": {
			"compat=0.10", "lazy_refcounts=on", "extended_l2=on,cluster_size=16k", "compression_type=zstd",
			"cluster_size=512", "cluster_size=2M", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
			"preallocation=metadata,extended_l2=on,cluster_size=32k",
			"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "encrypt.format=aes,encrypt.key-secret=s",
		},
	}
	for bits := 1; bits <= 64; bits *= 2 {
		images["qcow2"] = append(images["qcow2"], fmt.Sprintf("cluster_size=%d,refcount_bits=%d", 512*bits, bits))
	}
	raw := filepath.Join(t.TempDir(), "raw")
	content := make([]byte, 3<<20+1536)
	r := rand.New(rand.NewPCG(3, 4))
	for k := 0; k < len(content); k += 1 + r.IntN(64<<10) {
		content[k] = byte(r.Uint32())
	}
	clear(content[1<<20 : 2<<20])
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for format, list := range images {
		for _, options := range list {
			t.Run(format+" "+options, func(t *testing.T) {
				t.Parallel()
				workshop{t, t.TempDir(), format, options}.work(raw)
			})
		}
	}
}

// A workshop makes an image and looks at it after each step.
type workshop struct {
	*testing.T
	dir, format, options string
}

const secret = "secret,id=s,data=swordfish"

func (w workshop) has(option string) bool { return strings.Contains(w.options, option) }

// step runs a program on the image, which must be well-formed then.
func (w workshop) step(program string, args ...string) {
	w.Helper()
	testutil.RunIn(w, w.dir, program, append([]string{args[0], "--object", secret}, args[1:]...)...)
	if why := fault(w.format, filepath.Join(w.dir, "image")); why != "" {
		w.Errorf("%s %q: %s", program, args, why)
	}
}

// source names the image to qemu-img.
func (w workshop) source() string {
	s := "driver=" + w.format + ",file.filename=image"
	if w.has("encrypt.") {
		s += ",encrypt.key-secret=s"
	}
	return s
}

func (w workshop) write(commands ...string) {
	w.Helper()
	args := []string{"--image-opts"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	w.step("qemu-io", append(args, w.source())...)
}

func (w workshop) work(raw string) {
	args := []string{"convert", "-f", "raw", "-O", w.format}
	if w.options != "" {
		args = append(args, "-o", w.options)
	}
	w.step("qemu-img", append(args, raw, "image")...)
	if w.has("streamOptimized") {
		return // which is not written to
	}
	w.write("write 2M 300k", "write 1200k 4k", "write 1100k 70k")
	if w.format != "qcow2" {
		return
	}
	few := w.has("refcount_bits=2") || w.has("refcount_bits=4") // for compressed clusters in a snapshot
	if !w.has("encrypt.") && !w.has("preallocation") && !w.has("2M") && !few {
		w.write("write -c 1536k 64k", "write -c 1792k 64k")
	}
	w.write("write -z 2M 128k", "discard 0 64k")
	snapshots := 2
	switch {
	case w.has("refcount_bits=2"):
		snapshots = 1
	case strings.HasSuffix(w.options, "refcount_bits=1"):
		snapshots = 0
	}
	for range snapshots {
		w.step("qemu-img", "snapshot", "--image-opts", "-c", "s", w.source())
		w.write("write 2100k 10k", "write -z 1M 64k", "write 1800k 10k")
	}
	if w.has("0.10") || w.has("encrypt.") {
		return
	}
	w.step("qemu-img", "bitmap", "--add", "-g", "512", "image", "b")
	w.write("write 600k 10k")
	w.step("qemu-img", "resize", "-q", "image", "40M")
}

// fault returns what is wrong with an image.
func fault(format, path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	named, err := all.Registry().Lookup(format)
	if err != nil {
		return err.Error()
	}
	image, err := named.Open(disk.NewFile(f, info.Size()), disk.OpenOptions{Passphrase: []byte("swordfish")})
	if err != nil {
		return err.Error()
	}
	return verify(image)
}

// damage changes an entry, and says how.
func (v victim) damage(r *rand.Rand, p []byte, entries []int) string {
	at := entries[r.IntN(len(entries))]
	get := func(at int) uint64 {
		if v.width == 4 {
			return uint64(v.order.Uint32(p[at:]))
		}
		return v.order.Uint64(p[at:])
	}
	was := get(at)
	is := was
	switch r.IntN(5) {
	case 0, 1: // another entry's
		for tries := 0; tries < 100 && (is == was || is == 0); tries++ {
			is = get(entries[r.IntN(len(entries))])
		}
	case 2: // another place
		is = was&^0xff_ffff | uint64(r.IntN(32))<<r.IntN(17)
	case 3:
		is ^= 1 << r.IntN(8*v.width)
	case 4:
		is ^= 1 << (8*v.width - 1) // what qcow2 has the copied flag in
	}
	if v.width == 4 {
		v.order.PutUint32(p[at:], uint32(is))
	} else {
		v.order.PutUint64(p[at:], is)
	}
	return fmt.Sprintf("at %#x: %#x, was %#x", at, is, was)
}

// check returns what qemu-img check says, and whether there are errors in it.
func (v victim) check(t *testing.T, path string) (said string, errors bool) {
	var stderr strings.Builder
	cmd := exec.Command("qemu-img", "check", "-f", v.format, "--output=json", path)
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	var result struct{ Corruptions int }
	if len(out) > 0 {
		if err := json.Unmarshal(out, &result); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "ERROR") && slices.ContainsFunc(v.harmless, func(s string) bool { return strings.Contains(line, s) }) {
			result.Corruptions--
		}
	}
	return stderr.String(), result.Corruptions > 0
}

// TestRandomHistories has qcow2 images live: after each step they are as sound as
// qemu-img check says, but for reference counts of those that were not closed, which
// QEMU counts anew.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	testutil.QemuImg(t)
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 5))
			path := filepath.Join(t.TempDir(), "image")
			cluster := []int{512, 4 << 10, 64 << 10, 2 << 20}[r.IntN(4)]
			options := fmt.Sprintf("cluster_size=%d,refcount_bits=%d", cluster, 8<<r.IntN(4))
			for _, option := range []string{"lazy_refcounts=on", "compression_type=zstd", "preallocation=metadata"} {
				if r.IntN(3) == 0 {
					options += "," + option
				}
			}
			if cluster >= 16<<10 && r.IntN(2) == 0 {
				options += ",extended_l2=on"
			}
			testutil.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "8M")
			history := options
			for n := range 20 {
				args := happening(r, n, cluster, path)
				history += fmt.Sprintf("\n%q", args[:len(args)-1])
				_ = exec.Command(args[0], args[1:]...).Run() // not all is possible at all times
				head, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				why := fault("qcow2", path)
				theirs, errors := victim{format: "qcow2"}.check(t, path)
				if dirty := head[79]&1 != 0; why != "" && dirty || !dirty && errors != (why != "") {
					t.Fatalf("%q, and qemu-img check: %.600s\n%s", why, theirs, history)
				}
			}
		})
	}
}

// happening is something that happens to an image; n differs each time.
func happening(r *rand.Rand, n, cluster int, path string) []string {
	off := r.IntN(8<<20) &^ 511
	part := fmt.Sprintf("%d %d", off, min(512*(1+r.IntN(600)), 8<<20-off))
	io := func(commands ...string) []string {
		args := []string{"qemu-io", "-f", "qcow2"}
		for _, c := range commands {
			args = append(args, "-c", c)
		}
		return append(args, path)
	}
	old := fmt.Sprint("s", r.IntN(n+1))
	switch r.IntN(12) {
	case 0, 1:
		return []string{"qemu-img", "snapshot", "-c", fmt.Sprint("s", n), path}
	case 2:
		return []string{"qemu-img", "snapshot", "-d", old, path}
	case 3:
		return []string{"qemu-img", "snapshot", "-a", old, path}
	case 4:
		return []string{"qemu-img", "bitmap", "--" + []string{"add", "remove"}[r.IntN(2)], path, "b"}
	case 5:
		return io("discard " + part)
	case 6:
		return io("write -z -u " + part)
	case 7:
		return io(fmt.Sprintf("write -c %d %d", off/cluster*cluster, cluster*(1+r.IntN(4))))
	case 8:
		return []string{"qemu-img", "resize", "-q", "--shrink", path, fmt.Sprint(4<<20 + 512*r.IntN(8<<10))}
	case 9:
		return io("write "+part, "abort")
	}
	return io("write " + part)
}
