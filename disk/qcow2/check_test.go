package qcow2_test

import (
	"bytes"
	"testing"

	"instar/disk"
)

// TestCheck has each table lie where none can be.
func TestCheck(t *testing.T) {
	const cluster = 1 << 16
	for name, tc := range map[string]struct {
		damage func(b *builder)
		want   string // "" is nothing
	}{
		"sound":                  {func(b *builder) {}, ""},
		"refcount block":         {func(b *builder) { b.put64(cluster, 1<<40) }, "the refcount block at offset 0x10000000000, of 65536 bytes, reaches beyond the end of the file"},
		"refcount block, odd":    {func(b *builder) { b.put64(cluster+8, 3*cluster+512) }, "the refcount block at offset 0x30200 is not where a cluster is"},
		"refcount block, header": {func(b *builder) { b.put64(cluster, 512) }, "the refcount block at offset 0x200 is not where a cluster is"},
		"refcount table":         {func(b *builder) { b.put64(atReftableOffset, 0) }, "the refcount table is where the header is"},
		"snapshot table":         {func(b *builder) { b.put32(atSnapshots, 1); b.put64(atSnapshotsOffset, 1<<30) }, "the snapshot table at offset 0x40000000, of 40 bytes, reaches beyond the end of the file"},
		"L2 table":               {func(b *builder) { b.put64(b.l1, 1<<40) }, "the L2 table at offset 0x10000000000, of 65536 bytes, reaches beyond the end of the file"},
		"L1 table":               {func(b *builder) { b.put64(atL1Offset, 1<<40) }, "the L1 table at offset 0x10000000000, of 16 bytes, reaches beyond the end of the file"},
	} {
		b := builder{size: 1 << 29}.build()
		b.data(0, bytes.Repeat([]byte{1}, cluster))
		b.count()
		tc.damage(b)
		checkFinds(t, name, b, tc.want)
	}
}

// checkFinds has an image return an error from its Check; "" is none.
func checkFinds(t *testing.T, name string, b *builder, want string) {
	t.Helper()
	img, err := b.open(disk.OpenOptions{})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	got := ""
	if err := img.(disk.Checker).Check(); err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}
