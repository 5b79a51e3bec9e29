package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"instar/disk"
	"instar/disk/qcow2"
)

// TestUses has clusters be used more than once, and more often than their reference
// counts say.
func TestUses(t *testing.T) {
	const (
		cluster  = 1 << 12
		reftable = 1 * cluster
		l1       = 2 * cluster
		first    = 3 * cluster // data of cluster 0
		l2       = 4 * cluster
		second   = 5 * cluster // data of cluster 1
		packed   = 6 * cluster // compressed: clusters 2 and 3
		spare    = 7 * cluster
		block    = 8 * cluster
	)
	// A snapshot has a table of its own and shares the L2 table.
	withSnapshot := func(b *builder) {
		sl1 := b.add(b.at(l1, b.entries*8))
		table := make([]byte, 48)
		binary.BigEndian.PutUint64(table, uint64(sl1))
		binary.BigEndian.PutUint32(table[8:], uint32(b.entries))
		b.put32(atSnapshots, 1)
		b.put64(atSnapshotsOffset, uint64(b.add(table)))
		for at := int64(0); at < int64(len(b.image)); at += cluster {
			b.setCount(block, at, 1)
		}
		for _, at := range []int64{l2, first, second} {
			b.setCount(block, at, 2)
		}
		b.setCount(block, packed, 4)
		b.put64(l1, l2)
		b.set(0, first)
		b.set(1, second)
	}
	for name, tc := range map[string]struct {
		damage func(b *builder)
		want   string // "" is nothing
	}{
		"sound":    {func(b *builder) {}, ""},
		"snapshot": {withSnapshot, ""},
		"leak":     {func(b *builder) { b.setCount(block, spare, 9) }, ""},

		"data on header":          {func(b *builder) { b.set(5, flagZero); b.put64(l1+8, flagCopied) }, "the header and an L2 table overlap at offset 0x0"},
		"data on L1 table":        {func(b *builder) { b.set(5, l1|flagCopied) }, "the L1 table and a data cluster overlap at offset 0x2000"},
		"data on refcount table":  {func(b *builder) { b.set(5, reftable); b.setCount(block, reftable, 2) }, "the refcount table and a data cluster overlap at offset 0x1000"},
		"data on refcount block":  {func(b *builder) { b.set(5, block|flagCopied) }, "a refcount block and a data cluster overlap at offset 0x8000"},
		"data on L2 table":        {func(b *builder) { b.set(5, l2); b.put64(l1, l2); b.setCount(block, l2, 2) }, "an L2 table and a data cluster overlap at offset 0x4000"},
		"compressed on L2 table":  {func(b *builder) { b.set(5, flagCompressed|l2) }, "an L2 table and a compressed cluster overlap at offset 0x4000"},
		"compressed on data":      {func(b *builder) { b.set(5, flagCompressed|second); b.setCount(block, second, 2) }, "a compressed cluster and a data cluster overlap at offset 0x5000"},
		"compressed runs on":      {func(b *builder) { b.set(5, flagCompressed|1<<58|(block-512)) }, "a refcount block and a compressed cluster overlap at offset 0x8000"},
		"two refcount blocks":     {func(b *builder) { b.put64(reftable+8, block) }, "a refcount block and another overlap at offset 0x8000"},
		"L2 table twice":          {func(b *builder) { b.put64(l1+8, l2|flagCopied) }, "an L2 table at offset 0x4000 is used 2 times, and has the reference count 1"},
		"data twice":              {func(b *builder) { b.set(5, first|flagCopied) }, "a data cluster at offset 0x3000 is used 2 times, and has the reference count 1"},
		"data twice, and counted": {func(b *builder) { b.set(0, first); b.set(5, first); b.setCount(block, first, 2) }, ""},
		"twice, not copied":       {func(b *builder) { b.set(5, first); b.setCount(block, first, 2) }, "a data cluster at offset 0x3000 has the reference count 2, and its entry says that it is not shared"},
		"zeros, stored twice":     {func(b *builder) { b.set(5, first|flagCopied|flagZero) }, "a data cluster at offset 0x3000 is used 2 times, and has the reference count 1"},
		"compressed too often":    {func(b *builder) { b.setCount(block, packed, 1) }, "a compressed cluster at offset 0x6000 is used 2 times, and has the reference count 1"},
		"not counted":             {func(b *builder) { b.setCount(block, second, 0) }, "a data cluster at offset 0x5000 has the reference count 0"},
		"nothing is counted":      {func(b *builder) { b.put64(reftable, 0) }, "the header at offset 0x0 has the reference count 0"},
		"said to be shared":       {func(b *builder) { b.set(1, second) }, "a data cluster at offset 0x5000 has the reference count 1, and its entry says that it is shared"},
		"table said to be shared": {func(b *builder) { b.put64(l1, l2) }, "an L2 table at offset 0x4000 has the reference count 1, and its entry says that it is shared"},
		"behind the end":          {func(b *builder) { b.set(400, 64*cluster|flagCopied) }, "a data cluster at offset 0x40000 lies behind the end of the file"},
		"reserved in L1":          {func(b *builder) { b.put64(l1, l2|flagCopied|1<<57) }, "the L1 entry 0x8200000000004000 has reserved bits"},
		"reserved in L2":          {func(b *builder) { b.set(1, second|flagCopied|2) }, "the L2 entry 0x8000000000005002 has reserved bits"},
		"compressed and copied":   {func(b *builder) { b.set(2, flagCopied|flagCompressed|packed) }, "the L2 entry 0xc000000000006000 of a compressed cluster has bits that such a one has not"},
		"not on a cluster":        {func(b *builder) { b.set(400, first+512) }, "the data cluster at offset 0x3200 is not where a cluster is"},

		"snapshot, of a table not counted": {func(b *builder) { withSnapshot(b); b.setCount(block, l2, 1) }, "an L2 table at offset 0x4000 is used 2 times, and has the reference count 1"},
		"snapshot, of data not counted":    {func(b *builder) { withSnapshot(b); b.setCount(block, first, 1) }, "a data cluster at offset 0x3000 is used 2 times, and has the reference count 1"},
		"snapshot, table on data":          {func(b *builder) { withSnapshot(b); b.put64(9*cluster+8, first) }, "an L2 table and a data cluster overlap at offset 0x3000"},
		"snapshot, data on its table":      {func(b *builder) { withSnapshot(b); b.set(5, 9*cluster) }, "the L1 table of a snapshot and a data cluster overlap at offset 0x9000"},
		"snapshots on data":                {func(b *builder) { withSnapshot(b); b.set(5, 10*cluster) }, "the snapshot table and a data cluster overlap at offset 0xa000"},

		// What QEMU counts anew is not held against the image; tables that are in use
		// twice are.
		"dirty, nothing is counted": {func(b *builder) { b.image[atIncompatible+7] |= 1; b.put64(reftable, 0) }, ""},
		"dirty, data on L1 table":   {func(b *builder) { b.image[atIncompatible+7] |= 1; b.set(5, l1) }, "the L1 table and a data cluster overlap at offset 0x2000"},
	} {
		b := counted()
		if got := binary.BigEndian.Uint64(b.at(reftable, 8)); got != block {
			t.Fatalf("refcount block at %#x", got)
		}
		tc.damage(b)
		checkFinds(t, name, b, tc.want)
	}
}

// counted is an image of clusters of 4 KiB with sound reference counts: header,
// refcount table, L1 table, data, L2 table, data, compressed clusters, one that is
// spare, and the refcount block. The L1 table has an entry beyond the disk.
func counted() *builder {
	const cluster = 1 << 12
	b := builder{size: 1 << 20, bits: 12}.build()
	b.entries = 2
	b.put32(atL1Size, 2)
	b.data(0, make([]byte, cluster)) // which could be a table
	b.data(1, make([]byte, cluster))
	b.packed(2, deflated(make([]byte, cluster)))
	b.packed(3, deflated(make([]byte, cluster)))
	b.add(make([]byte, cluster))
	b.count()
	b.setCount(8*cluster, 6*cluster, 2)
	return b
}

func FuzzCheck(f *testing.F) {
	f.Add(counted().image)
	extended := builder{size: 1 << 20, bits: 14, extend: true}.build()
	extended.data(3, make([]byte, 1<<14))
	extended.count()
	f.Add(extended.image)
	f.Fuzz(func(t *testing.T, image []byte) {
		i, err := qcow2.Format.Open(disk.NewFile(bytes.NewReader(image), int64(len(image))), disk.OpenOptions{})
		if err != nil || i.Size() > 1<<28 || i.Info().Refused != nil || len(i.Info().Snapshots) > 8 {
			return
		}
		if err := i.(disk.Checker).Check(); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}
