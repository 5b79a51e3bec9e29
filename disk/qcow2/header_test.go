package qcow2_test

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"instar/disk"
	"instar/internal/testutil"
)

// broken are images that do not open, with what qemu-img says of them; ours is
// what we say where that is something else.
var broken = []struct {
	name   string
	bits   uint
	damage func(*builder)
	qemus  string
	ours   string
}{
	{name: "magic", damage: func(b *builder) { b.image[3] = 0 }, qemus: "Image is not in qcow2 format"},
	{name: "version 1", damage: func(b *builder) { b.put32(atVersion, 1) }, qemus: "Unsupported qcow2 version 1"},
	{name: "version 4", damage: func(b *builder) { b.put32(atVersion, 4) }, qemus: "Unsupported qcow2 version 4"},
	{name: "cluster bits 8", damage: func(b *builder) { b.put32(atClusterBits, 8) }, qemus: "Unsupported cluster size: 2^8"},
	{name: "cluster bits 22", damage: func(b *builder) { b.put32(atClusterBits, 22) }, qemus: "Unsupported cluster size: 2^22"},
	{name: "cluster bits 64", damage: func(b *builder) { b.put32(atClusterBits, 64) }, qemus: "Unsupported cluster size: 2^64"},
	{name: "cluster bits 2^32-1", damage: func(b *builder) { b.put32(atClusterBits, 1<<32-1) }, qemus: "Unsupported cluster size: 2^4294967295"},
	{name: "header length 0", damage: func(b *builder) { b.put32(atHeaderLength, 0) }, qemus: "qcow2 header too short"},
	{name: "header length 103", damage: func(b *builder) { b.put32(atHeaderLength, 103) }, qemus: "qcow2 header too short"},
	{name: "header length above cluster", damage: func(b *builder) { b.put32(atHeaderLength, 1<<16+8) }, qemus: "qcow2 header exceeds cluster size"},
	{name: "header length 2^31", damage: func(b *builder) { b.put32(atHeaderLength, 1<<31) }, qemus: "qcow2 header exceeds cluster size"},
	{name: "backing offset beyond cluster", damage: func(b *builder) { b.put64(atBackingOffset, 1<<16+1) }, qemus: "Invalid backing file offset"},
	{name: "backing offset huge", damage: func(b *builder) { b.put64(atBackingOffset, 1<<63) }, qemus: "Invalid backing file offset"},
	{name: "backing name of 1024", damage: func(b *builder) { b.put64(atBackingOffset, 256); b.put32(atBackingSize, 1024) }, qemus: "Backing file name too long"},
	{name: "backing name over the cluster's end", damage: func(b *builder) { b.put64(atBackingOffset, 1<<16-10); b.put32(atBackingSize, 11) }, qemus: "Backing file name too long"},
	{name: "backing name of 2^32-1", damage: func(b *builder) { b.put64(atBackingOffset, 256); b.put32(atBackingSize, 1<<32-1) }, qemus: "Backing file name too long"},
	{name: "extension too long", damage: func(b *builder) { b.extension(extBackingFormat, 1<<16, nil) }, qemus: "Header extension too large"},
	{name: "extension of 2^32-1", damage: func(b *builder) { b.extension(0x12345678, 1<<32-1, nil) }, qemus: "Header extension too large"},
	{name: "backing format of 16", damage: func(b *builder) { b.extension(extBackingFormat, 16, nil) }, qemus: "ERROR: ext_backing_format: len=16 too large (>=16)"},
	{name: "unknown feature", damage: func(b *builder) { b.put64(atIncompatible, 1<<63) }, qemus: "Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000000000000"},
	{name: "unknown features, one named", damage: func(b *builder) {
		b.put64(atIncompatible, 1<<9|1<<10)
		b.extension(extFeatureNames, 48, append([]byte{0, 9}, "time travel"...))
	}, qemus: "Unsupported qcow2 feature(s): time travel, Unknown incompatible feature: 400"},
	{name: "compression type without its feature", damage: func(b *builder) { b.image[atCompression] = 1 }, qemus: "qcow2: Compression type incompatible feature bit must be set"},
	{name: "compression feature without its type", damage: func(b *builder) { b.put64(atIncompatible, 8) }, qemus: "qcow2: Compression type incompatible feature bit must not be set"},
	{name: "compression type 2", damage: func(b *builder) { b.put64(atIncompatible, 8); b.image[atCompression] = 2 }, qemus: "qcow2: unknown compression type: 2"},
	{name: "refcount order 7", damage: func(b *builder) { b.put32(atRefcountOrder, 7) }, qemus: "Reference count entry width too large; may not exceed 64 bits"},
	{name: "refcount order 255", damage: func(b *builder) { b.put32(atRefcountOrder, 255) }, qemus: "Reference count entry width too large; may not exceed 64 bits"},
	{name: "subclusters of 128", bits: 12, damage: func(b *builder) { b.put64(atIncompatible, 16) }, qemus: "Unsupported subcluster size: 128"},
	{name: "encryption 3", damage: func(b *builder) { b.put32(atCrypt, 3) }, qemus: "Unsupported encryption method 3"},
	{name: "no refcount table", damage: func(b *builder) { b.put32(atReftableClusters, 0) }, qemus: "Image does not contain a reference count table"},
	{name: "refcount table above 8 MiB", damage: func(b *builder) { b.put32(atReftableClusters, 129) }, qemus: "Reference count table too large"},
	{name: "refcount table of 2^32-1 clusters", damage: func(b *builder) { b.put32(atReftableClusters, 1<<32-1) }, qemus: "Reference count table too large"},
	{name: "refcount table unaligned", damage: func(b *builder) { b.put64(atReftableOffset, 1<<16+512) }, qemus: "Reference count table offset invalid"},
	{name: "refcount table at the end of offsets", damage: func(b *builder) { b.put64(atReftableOffset, 1<<64-1<<16) }, qemus: "Reference count table offset invalid"},
	{name: "65537 snapshots", damage: func(b *builder) { b.put32(atSnapshots, 65537) }, qemus: "Snapshot table too large"},
	{name: "snapshot table unaligned", damage: func(b *builder) { b.put32(atSnapshots, 1); b.put64(atSnapshotsOffset, 1<<17+8) }, qemus: "Snapshot table offset invalid"},
	{name: "snapshot table at the end of offsets", damage: func(b *builder) { b.put32(atSnapshots, 1); b.put64(atSnapshotsOffset, 1<<64-1<<16) }, qemus: "Snapshot table offset invalid"},
	{name: "L1 table above 32 MiB", damage: func(b *builder) { b.put32(atL1Size, 32<<20/8+1) }, qemus: "Active L1 table too large"},
	{name: "L1 table of 2^32-1 entries", damage: func(b *builder) { b.put32(atL1Size, 1<<32-1) }, qemus: "Active L1 table too large"},
	{name: "L1 table unaligned", damage: func(b *builder) { b.put64(atL1Offset, 1<<17+8) }, qemus: "Active L1 table offset invalid"},
	{name: "L1 table at the end of offsets", damage: func(b *builder) { b.put64(atL1Offset, 1<<64-1<<16) }, qemus: "Active L1 table offset invalid"},
	{name: "L1 table too small", damage: func(b *builder) { b.put32(atL1Size, 0) }, qemus: "L1 table is too small"},
	{name: "size above what the L1 table covers", damage: func(b *builder) { b.put64(atSize, 1<<30+1) }, qemus: "L1 table is too small"},
	{name: "size 1 PiB", damage: func(b *builder) { b.put64(atSize, 1<<50) }, qemus: "L1 table is too small"},
	{name: "size 2^63", damage: func(b *builder) { b.put64(atSize, 1<<63) }, qemus: "Image is too big"},
	{name: "size 2^64-1", damage: func(b *builder) { b.put64(atSize, 1<<64-1) }, ours: "Image is too big"},
	{name: "snapshot with too much extra data", damage: func(b *builder) {
		at := b.add(make([]byte, 40))
		b.put32(atSnapshots, 1)
		b.put64(atSnapshotsOffset, uint64(at))
		b.put32(at+36, 1025)
	}, qemus: "Too much extra metadata in snapshot table entry 0"},
	{name: "bitmaps: extension of 16", damage: func(b *builder) { b.bitmaps(16, 1, 0, 64, 1<<17) }, qemus: "bitmaps_ext: Invalid extension length"},
	{name: "bitmaps: reserved field", damage: func(b *builder) { b.bitmaps(24, 1, 1, 64, 1<<17) }, qemus: "bitmaps_ext: Reserved field is not zero"},
	{name: "bitmaps: none", damage: func(b *builder) { b.bitmaps(24, 0, 0, 64, 1<<17) }, qemus: "found bitmaps extension with zero bitmaps"},
	{name: "bitmaps: too many", damage: func(b *builder) { b.bitmaps(24, 65536, 0, 64, 1<<17) }, qemus: "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535"},
	{name: "bitmaps: unaligned", damage: func(b *builder) { b.bitmaps(24, 1, 0, 64, 1<<17+8) }, qemus: "bitmaps_ext: invalid bitmap directory offset"},
	{name: "bitmaps: too large", damage: func(b *builder) { b.bitmaps(24, 1, 0, 1<<40, 1<<17) }, qemus: "bitmaps_ext: bitmap directory size (1099511627776) exceeds the maximum supported size (67107840)"},
	{name: "bitmaps: empty entry", damage: func(b *builder) { b.bitmaps(24, 1, 0, 64, 1<<20) }, qemus: "Bitmap '' doesn't satisfy the constraints"},
}

const (
	extBackingFormat = 0xe2792aca
	extFeatureNames  = 0x6803f857
	extDataFile      = 0x44415441
	extBitmaps       = 0x23852875
	extCrypto        = 0x0537be77
)

// extension writes a first header extension that claims to be n bytes long.
func (b *builder) extension(kind, n uint32, data []byte) {
	b.put32(atExtensions, kind)
	b.put32(atExtensions+4, n)
	copy(b.at(atExtensions+8, int64(len(data))), data)
}

// bitmaps writes a bitmaps extension of length bytes.
func (b *builder) bitmaps(length, count, reserved uint32, size, offset uint64) {
	data := binary.BigEndian.AppendUint32(nil, count)
	data = binary.BigEndian.AppendUint32(data, reserved)
	data = binary.BigEndian.AppendUint64(data, size)
	data = binary.BigEndian.AppendUint64(data, offset)
	b.extension(extBitmaps, length, data)
	b.put64(atAutoclear, 1)
}

func TestBrokenImagesAreRefusedAsByQemu(t *testing.T) {
	for _, tc := range broken {
		t.Run(tc.name, func(t *testing.T) {
			b := builder{size: 1 << 29, bits: tc.bits}.build()
			tc.damage(b)
			want := tc.ours
			if want == "" {
				want = tc.qemus
			}
			img, err := b.open(disk.OpenOptions{})
			if err == nil || img != nil {
				t.Fatalf("opened; want the error %q", want)
			}
			if err.Error() != want {
				t.Errorf("error %q; want %q", err, want)
			}
			var format *disk.FormatError
			var unsupported *disk.UnsupportedError
			if !errors.As(err, &format) && !errors.As(err, &unsupported) {
				t.Errorf("error of type %T", err)
			}
		})
	}
}

func TestBrokenImagesTextsAreQemus(t *testing.T) {
	qemu := testutil.QemuImg(t)
	for _, tc := range broken {
		if tc.qemus == "" {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := builder{size: 1 << 29, bits: tc.bits}.build()
			tc.damage(b)
			path := filepath.Join(t.TempDir(), "i.qcow2")
			if err := os.WriteFile(path, b.image, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(qemu, "info", "-f", "qcow2", path).CombinedOutput()
			if want := "Could not open '" + path + "': " + tc.qemus + "\n"; err == nil || !strings.Contains(string(out), want) {
				t.Errorf("qemu-img says %q; want %q", out, want)
			}
		})
	}
}
