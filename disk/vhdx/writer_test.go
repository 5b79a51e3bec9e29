package vhdx

import (
	"encoding/binary"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

func TestSizes(t *testing.T) {
	const gib, tib = 1 << 30, 1 << 40
	for _, tc := range []struct {
		size       int64
		values     map[string]string
		block, log int64
	}{
		{0, nil, 8 << 20, 1 << 20},
		{1 * gib, nil, 8 << 20, 1 << 20},
		{1*gib + 512, nil, 16 << 20, 1 << 20},
		{100 * gib, nil, 16 << 20, 1 << 20},
		{100*gib + 512, nil, 32 << 20, 1 << 20},
		{32 * tib, nil, 32 << 20, 1 << 20},
		{32*tib + 512, nil, 64 << 20, 1 << 20},
		{64 * tib, nil, 64 << 20, 1 << 20},
		{512, map[string]string{"block_size": "0", "log_size": "512k"}, 8 << 20, 1 << 20},
		{512, map[string]string{"block_size": "512k", "log_size": "1500k"}, 1 << 20, 2 << 20},
		{512, map[string]string{"block_size": "1500k", "log_size": "4095M"}, 2 << 20, 4095 << 20},
		{512, map[string]string{"block_size": "512M"}, 256 << 20, 1 << 20},
		{512, map[string]string{"block_size": "4097M"}, 256 << 20, 1 << 20},
	} {
		o, err := parseCreateOptions(tc.values, tc.size)
		if err != nil || o.block != tc.block || o.log != tc.log {
			t.Errorf("%d bytes, %v: blocks of %d bytes, log of %d, %v", tc.size, tc.values, o.block, o.log, err)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int64
		values map[string]string
		want   string
	}{
		{"a large disk", maxSize + 512, map[string]string{"log_size": "0", "block_size": "3M"}, "Image size too large; max of 64TB"},
		{"a large log", 512, map[string]string{"log_size": "4294967295", "block_size": "3M"}, "Log size must be smaller than 4 GB"},
		{"a larger log", 512, map[string]string{"log_size": "18446744073709551615"}, "Log size must be smaller than 4 GB"},
		{"no log", 512, map[string]string{"log_size": "0", "block_size": "3M"}, "Log size must be a multiple of 1 MB"},
		{"blocks", 512, map[string]string{"block_size": "3M"}, "Block size must be a power of two"},
		{"subformat", maxSize + 512, map[string]string{"subformat": "x"}, "Parameter 'subformat' does not accept value 'x'"},
		{"sizes", 512, map[string]string{"log_size": "x", "block_size": "y"}, "Parameter 'block_size' expects a non-negative number below 2^64"},
		{"log size", 512, map[string]string{"log_size": "x"}, "Parameter 'log_size' expects a non-negative number below 2^64"},
		{"block_state_zero", 512, map[string]string{"block_state_zero": "2", "subformat": "x"}, "Parameter 'block_state_zero' expects 'on' or 'off'"},
		{"unknown option", 512, map[string]string{"foo": "1", "block_size": "x"}, "Invalid parameter 'foo'"},
		{"an empty disk in large blocks", 0, map[string]string{"block_size": "256M"}, "Failed to write the BAT: Input/output error"},
	} {
		_, err := Format.Create(disktest.NewTarget(nil), tc.size, disk.WriterOptions{Values: tc.values})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

// TestTableIsWrittenByPage: entries far apart, across pages and bitmaps.
func TestTableIsWrittenByPage(t *testing.T) {
	const blocks, ratio = 5*pageEntries + 17, 4096
	for _, blank := range []bool{false, true} {
		for _, absent := range []uint64{0, blockZero} {
			target := disktest.NewTarget(nil)
			tab := &table{target: target, entries: blocks + (blocks-1)/ratio, ratio: ratio, absent: absent, blank: blank}
			set := []int64{0, 1, ratio - 1, ratio, pageEntries - 32, pageEntries, 3 * pageEntries, blocks - 1}
			for _, index := range set {
				if err := tab.set(index, blockFullyPresent|uint64(index)<<20); err != nil {
					t.Fatal(err)
				}
			}
			if err := tab.finish(); err != nil {
				t.Fatal(err)
			}
			want := make([]uint64, tab.entries)
			for at := range want {
				if at%(ratio+1) != ratio {
					want[at] = absent
				}
			}
			for _, index := range set {
				want[index+index/ratio] = blockFullyPresent | uint64(index)<<20
			}
			got := target.Bytes()
			got = append(got, make([]byte, len(want)*8-len(got))...)
			for at, entry := range want {
				if is := le64(got[8*at:]); is != entry {
					t.Fatalf("blank %v, absent %d: entry %d is %#x, want %#x", blank, absent, at, is, entry)
				}
			}
		}
	}
}

func le64(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, values := range []map[string]string{
		{"block_size": "1M"},
		{"block_size": "2M", "log_size": "2M", "block_state_zero": "off"},
		{"block_size": "1M", "subformat": "fixed"},
	} {
		disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: values})
	}
}
