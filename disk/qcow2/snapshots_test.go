package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
	"instar/internal/testutil"
)

// A snapshotEntry is what a test writes into a snapshot table.
type snapshotEntry struct {
	l1        int64
	entries   uint32
	id, name  string
	vmState   uint32
	extra     []uint64
	seconds   uint32
	clockNano uint64
}

// snapshots writes a snapshot table.
func (b *builder) snapshots(list ...snapshotEntry) {
	var table []byte
	be := binary.BigEndian
	for _, s := range list {
		table = be.AppendUint64(table, uint64(s.l1))
		table = be.AppendUint32(table, s.entries)
		table = be.AppendUint16(table, uint16(len(s.id)))
		table = be.AppendUint16(table, uint16(len(s.name)))
		table = be.AppendUint32(table, s.seconds)
		table = be.AppendUint32(table, 0)
		table = be.AppendUint64(table, s.clockNano)
		table = be.AppendUint32(table, s.vmState)
		table = be.AppendUint32(table, uint32(len(s.extra)*8))
		for _, v := range s.extra {
			table = be.AppendUint64(table, v)
		}
		table = append(table, s.id+s.name...)
		for len(table)%8 != 0 {
			table = append(table, 0)
		}
	}
	b.put32(atSnapshots, uint32(len(list)))
	b.put64(atSnapshotsOffset, uint64(b.add(table)))
}

func TestSnapshotTable(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	b.snapshots(
		snapshotEntry{id: "1", name: "plain", vmState: 7, seconds: 1700000000},
		snapshotEntry{id: "long", name: "with extra data", extra: []uint64{1 << 40, 1 << 19, 12345}, clockNano: 61e9},
		snapshotEntry{id: "3", name: "cut\x00here"},
	)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	icount := int64(12345)
	want := []disk.Snapshot{
		{ID: "1", Name: "plain", VMStateSize: 7, Seconds: 1700000000, DiskSize: 1 << 20},
		{ID: "long", Name: "with extra data", VMStateSize: 1 << 40, DiskSize: 1 << 19, ICount: &icount, ClockNanos: 61e9},
		{ID: "3", Name: "cut", DiskSize: 1 << 20},
	}
	if diff := cmp.Diff(want, img.Info().Snapshots); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	entry := snapshotEntry{id: string(bytes.Repeat([]byte{'i'}, math.MaxUint16)), name: string(bytes.Repeat([]byte{'n'}, math.MaxUint16))}
	for _, tc := range []struct {
		entries int
		want    string
	}{
		{400, ""},
		{600, "Snapshot table is too big"},
	} {
		b := builder{size: 1 << 20}.build()
		list := make([]snapshotEntry, tc.entries)
		for i := range list {
			list[i] = entry
		}
		b.snapshots(list...)
		img, err := b.open(disk.OpenOptions{})
		if tc.want != "" {
			if err == nil || err.Error() != tc.want {
				t.Errorf("%d entries: error %v; want %q", tc.entries, err, tc.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if s := img.Info().Snapshots[0]; len(s.ID) != 127 || len(s.Name) != 255 {
			t.Errorf("ID of %d bytes, name of %d; QEMU keeps 127 and 255", len(s.ID), len(s.Name))
		}
	}
}

func TestSnapshotContent(t *testing.T) {
	b := builder{size: 2 << 29}.build()
	now, then := bytes.Repeat([]byte{0x11}, 1<<16), bytes.Repeat([]byte{0x22}, 1<<16)
	b.data(0, now)
	l1 := b.l1
	b.l1 = b.add(make([]byte, 8)) // of one entry, where the disk needs two
	short := b.l1
	b.data(0, then)
	b.l1 = l1
	b.snapshots(
		snapshotEntry{l1: short, entries: 1, id: "1", name: "2"},
		snapshotEntry{l1: l1, entries: 2, id: "2", name: "1"},
		snapshotEntry{l1: short, entries: 1, id: "7", name: "named"},
		snapshotEntry{l1: short + 8, entries: 1, id: "bad offset"},
		snapshotEntry{l1: short, entries: 1 << 31, id: "bad size"},
		snapshotEntry{l1: math.MaxInt64 &^ (1<<16 - 1), entries: 1 << 20, id: "far"},
	)
	for _, tc := range []struct {
		key  string
		want []byte
		err  string
	}{
		{key: "", want: now},
		{key: "1", want: then},
		{key: "2", want: now}, // an ID goes before a name
		{key: "named", want: then},
		{key: "nope", err: "Failed to load snapshot: Can't find snapshot"},
		{key: "bad offset", err: "Failed to load snapshot: Snapshot L1 table offset invalid"},
		{key: "bad size", err: "Failed to load snapshot: Snapshot L1 table too large"},
		{key: "far", err: "Failed to load snapshot: Snapshot L1 table offset invalid"},
	} {
		img, err := b.open(disk.OpenOptions{Snapshot: tc.key})
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("snapshot %q: error %v; want %q", tc.key, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<16)
		if _, err := img.ReadAt(got, 0); err != nil || !bytes.Equal(got, tc.want) {
			t.Errorf("snapshot %q: content %#x…, %v; want %#x…", tc.key, got[0], err, tc.want[0])
		}
		if img.Size() != 2<<29 {
			t.Errorf("snapshot %q: size %d", tc.key, img.Size())
		}
		if _, err := img.ReadAt(got, 1<<29); err != nil || got[0] != 0 {
			t.Errorf("snapshot %q beyond its L1 table: %#x, %v; want zeros", tc.key, got[0], err)
		}
	}
}

// TestSnapshotsOfOpenImage has snapshots without the image being opened again.
func TestSnapshotsOfOpenImage(t *testing.T) {
	b := builder{size: 1 << 20}.build()
	now, then := bytes.Repeat([]byte{0x11}, 1<<16), bytes.Repeat([]byte{0x22}, 1<<16)
	b.data(0, now)
	active := b.l1
	b.l1 = b.add(make([]byte, 8))
	b.data(0, then)
	b.snapshots(
		snapshotEntry{l1: b.l1, entries: 1, id: "1"},
		snapshotEntry{l1: active, entries: 1, id: "1"}, // IDs need not differ
		snapshotEntry{l1: b.l1 + 8, entries: 1, id: "2"},
	)
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range [][]byte{then, now} {
		s, err := img.(disk.Snapshotted).Snapshot(k)
		if err != nil {
			t.Fatal(err)
		}
		for which, c := range map[string]struct {
			image disk.Image
			want  []byte
		}{"snapshot": {s, want}, "image": {img, now}} {
			got := make([]byte, 1<<16)
			if _, err := c.image.ReadAt(got, 0); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%d: content of the %s %#x…, %v; want %#x…", k, which, got[0], err, c.want[0])
			}
		}
	}
	want := "Failed to load snapshot: Snapshot L1 table offset invalid"
	if _, err := img.(disk.Snapshotted).Snapshot(2); err == nil || err.Error() != want {
		t.Errorf("a snapshot without an L1 table: %v, want %q", err, want)
	}
}

func TestSnapshotsAreQemus(t *testing.T) {
	qemu, qio := testutil.QemuImg(t), testutil.Require(t, "qemu-io", "qemu-utils")
	dir := t.TempDir()
	path := filepath.Join(dir, "i.qcow2")
	testutil.Run(t, qemu, "create", "-q", "-f", "qcow2", path, "3M")
	states := []string{"one", "two", "three"}
	for i, name := range states {
		testutil.Run(t, qio, "-c", "write -P "+string(rune('1'+i))+" 100k 1M", "-c", "write -z 2M 64k", path)
		testutil.Run(t, qemu, "snapshot", "-c", name, path)
		testutil.Run(t, qemu, "resize", "-q", path, "+512k")
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(states, "1", "2", "3") {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.raw")
			testutil.Run(t, qemu, "convert", "-l", name, "-O", "raw", path, out)
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			disktest.Run(t, disktest.Config{Format: qcow2.Format, Image: image, Options: disk.OpenOptions{Snapshot: name}, Want: want})
		})
	}
}
