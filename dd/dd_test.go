package dd

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func blocks(n int64) *int64 { return &n }

func TestParseOperands(t *testing.T) {
	base := Operands{Input: "a", Output: "b", OutputFormat: "raw", BlockSize: 512}
	with := func(change func(*Operands)) Operands {
		o := base
		change(&o)
		return o
	}
	for _, c := range []struct {
		args []string
		want Operands
	}{
		{[]string{"if=a", "of=b"}, base},
		{[]string{"of=b", "if=a"}, base},
		{[]string{"if=x", "if=a", "of=y", "of=b"}, base},
		{[]string{"if=a=b.raw", "of=b"}, with(func(o *Operands) { o.Input = "a=b.raw" })},
		{[]string{"if=", "of=b"}, with(func(o *Operands) { o.Input = "" })},
		{[]string{"if=a", "of=b", "bs=2k"}, with(func(o *Operands) { o.BlockSize = 2048 })},
		{[]string{"if=a", "of=b", "bs=1", "bs=3"}, with(func(o *Operands) { o.BlockSize = 3 })},
		{[]string{"bs=2147483647", "if=a", "of=b"}, with(func(o *Operands) { o.BlockSize = math.MaxInt32 })},
		{[]string{"if=a", "of=b", "count=0"}, with(func(o *Operands) { o.Count = blocks(0) })},
		{[]string{"if=a", "of=b", "count=30K"}, with(func(o *Operands) { o.Count = blocks(30720) })},
		{[]string{"if=a", "of=b", "count=9223372036854775807"}, with(func(o *Operands) { o.Count = blocks(math.MaxInt64) })},
		{[]string{"if=a", "of=b", "skip=0x10"}, with(func(o *Operands) { o.Skip = 16 })},
	} {
		got, err := ParseOperands(c.args, "", "")
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q:\n%s", c.args, diff)
		}
	}
	got, err := ParseOperands([]string{"if=a", "of=b"}, "qcow2", "vmdk")
	if err != nil || got.InputFormat != "qcow2" || got.OutputFormat != "vmdk" {
		t.Errorf("formats: %+v, %v", got, err)
	}
}

func TestParseOperandsRefuses(t *testing.T) {
	const (
		bs    = "Invalid bs specified. Must be between 1 and 2147483647."
		count = "Invalid count specified. Must be between 0 and 9223372036854775807."
		skip  = "Invalid skip specified. Must be between 0 and 9223372036854775807."
		files = "Must specify both input and output files"
	)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, files},
		{[]string{"if=a"}, files},
		{[]string{"of=a"}, files},
		{[]string{"bs=1k"}, files},
		{[]string{"if=a", "of=b", "seek=1"}, "unrecognized operand seek"},
		{[]string{"if=a", "of=b", "conv=notrunc"}, "unrecognized operand conv"},
		{[]string{"if=a", "of=b", "status=none"}, "unrecognized operand status"},
		{[]string{"if=a", "of=b", "bar"}, "unrecognized operand bar"},
		{[]string{"if=a", "of=b", ""}, "unrecognized operand "},
		{[]string{"if=a", "of=b", "="}, "unrecognized operand "},
		{[]string{"if=a", "of=b", "=x"}, "unrecognized operand "},
		{[]string{"IF=a", "of=b"}, "unrecognized operand IF"},
		{[]string{" if=a", "of=b"}, "unrecognized operand  if"},
		{[]string{"foo=1", "bs=0"}, "unrecognized operand foo"},
		{[]string{"bs=0", "foo=1"}, bs},
		{[]string{"if=a", "of=b", "bs=0", "bs=2k"}, bs},
		{[]string{"bs=0"}, bs},
		{[]string{"bs=2147483648"}, bs},
		{[]string{"bs=-1"}, bs},
		{[]string{"bs=16E"}, bs},
		{[]string{"bs="}, "Invalid bs specified: ''"},
		{[]string{"bs=1kB"}, "Invalid bs specified: '1kB'"},
		{[]string{"bs=1=2"}, "Invalid bs specified: '1=2'"},
		{[]string{"count=-1"}, count},
		{[]string{"count=9223372036854775808"}, count},
		{[]string{"count=x"}, "Invalid count specified: 'x'"},
		{[]string{"skip=-0"}, skip},
		{[]string{"skip=8E"}, skip},
		{[]string{"skip=-1k"}, "Invalid skip specified: '-1k'"},
	} {
		got, err := ParseOperands(c.args, "", "")
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %+v, %v; want %s", c.args, got, err, c.want)
		}
	}
}

func TestComputeWindow(t *testing.T) {
	const mib, most = 1 << 20, math.MaxInt64
	for _, c := range []struct {
		size, bs int64
		count    *int64
		skip     int64
		want     Window
	}{
		// The matrix, on 1 MiB.
		{mib, 512, nil, 0, Window{Start: 0, End: mib, OutSize: mib}},
		{mib, 65536, nil, 1, Window{Start: 65536, End: mib, OutSize: 983040}},
		{mib, 65536, blocks(8), 0, Window{Start: 0, End: 524288, OutSize: 524288}},
		{mib, 65536, blocks(4), 2, Window{Start: 131072, End: 262144, OutSize: 131072}},
		{mib, 1000, blocks(2), 1, Window{Start: 1000, End: 2000, OutSize: 1024}},
		{mib, 1000, blocks(3), 0, Window{Start: 0, End: 3000, OutSize: 3072}},
		{mib, 513, blocks(3), 1, Window{Start: 513, End: 1539, OutSize: 1536}},
		{mib, mib, blocks(2), 0, Window{Start: 0, End: mib, OutSize: mib}},
		{mib, 512, blocks(99999), 0, Window{Start: 0, End: mib, OutSize: mib}},
		{mib, 512, blocks(0), 0, Window{}},
		{mib, 512, nil, 99999, Window{Start: mib, End: mib, SkipBeyond: true}},
		// A size that is no multiple of 512 counts as rounded up.
		{1000, 512, nil, 0, Window{Start: 0, End: 1024, OutSize: 1024}},
		{1000, 1, blocks(1000), 0, Window{Start: 0, End: 1000, OutSize: 1024}},
		{1000, 1000, nil, 1, Window{Start: 1000, End: 1024, OutSize: 512}},
		{4096, 1, nil, 1, Window{Start: 1, End: 4096, OutSize: 4096}},
		{4096, 1000, nil, 4, Window{Start: 4000, End: 4096, OutSize: 512}},
		// The edges of skip: at the end, no warning; beyond it, one.
		{mib, 512, nil, 2048, Window{Start: mib, End: mib}},
		{mib, 512, nil, 2049, Window{Start: mib, End: mib, SkipBeyond: true}},
		{mib, 512, blocks(3), 3, Window{Start: 1536, End: 1536}},
		{mib, 512, blocks(3), 4, Window{Start: 1536, End: 1536, SkipBeyond: true}},
		{mib, 512, blocks(0), 1, Window{SkipBeyond: true}},
		{0, 512, nil, 0, Window{}},
		{0, 512, nil, 1, Window{SkipBeyond: true}},
		{0, 512, blocks(5), 0, Window{}},
		// Products that do not fit.
		{mib, math.MaxInt32, blocks(most), 0, Window{Start: 0, End: mib, OutSize: mib}},
		{mib, math.MaxInt32, nil, most, Window{Start: mib, End: mib, SkipBeyond: true}},
		{mib, 2, blocks(most), most, Window{Start: mib, End: mib, SkipBeyond: true}},
		{most, 1, nil, 0, Window{Start: 0, End: most - 511, OutSize: most - 511}},
		{most, 1, blocks(most), most - 511, Window{Start: most - 511, End: most - 511}},
		{-5, -5, blocks(-5), -5, Window{}},
	} {
		name := fmt.Sprintf("size=%d bs=%d skip=%d", c.size, c.bs, c.skip)
		if c.count != nil {
			name += fmt.Sprintf(" count=%d", *c.count)
		}
		if diff := cmp.Diff(c.want, ComputeWindow(c.size, c.bs, c.count, c.skip)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestWindowIsASlice shows that a window of a disk is a slice of its content.
func TestWindowIsASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "content")
		bs := rapid.Int64Range(1, 1500).Draw(t, "bs")
		skip := rapid.Int64Range(0, 12).Draw(t, "skip")
		var count *int64
		if rapid.Bool().Draw(t, "counted") {
			count = blocks(rapid.Int64Range(0, 12).Draw(t, "count"))
		}
		padded := append(bytes.Clone(content), make([]byte, -len(content)&511)...)
		want := padded
		if count != nil {
			want = want[:min(int64(len(want)), *count*bs)]
		}
		beyond := skip*bs > int64(len(want))
		want = want[min(int64(len(want)), skip*bs):]

		w := ComputeWindow(int64(len(content)), bs, count, skip)
		if got := padded[w.Start:w.End]; !bytes.Equal(got, want) {
			t.Fatalf("window %+v has %d bytes, want %d", w, len(got), len(want))
		}
		if w.SkipBeyond != beyond {
			t.Fatalf("SkipBeyond = %v, want %v", w.SkipBeyond, beyond)
		}
	})
}

// TestWindowSaturates compares with arithmetic that cannot overflow, over the
// whole range of every argument.
func TestWindowSaturates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, math.MaxInt64-511).Draw(t, "size")
		bs := rapid.Int64Range(1, MaxBlockSize).Draw(t, "bs")
		n := rapid.Int64Range(0, math.MaxInt64).Draw(t, "count")
		skip := rapid.Int64Range(0, math.MaxInt64).Draw(t, "skip")

		end := new(big.Int).Mul(big.NewInt(n), big.NewInt(bs))
		if rounded := big.NewInt((size + 511) / 512 * 512); end.Cmp(rounded) > 0 {
			end = rounded
		}
		start := new(big.Int).Mul(big.NewInt(skip), big.NewInt(bs))
		beyond := start.Cmp(end) > 0
		if beyond {
			start = end
		}

		w := ComputeWindow(size, bs, &n, skip)
		if w.Start != start.Int64() || w.End != end.Int64() || w.SkipBeyond != beyond {
			t.Fatalf("%+v, want [%v, %v) beyond=%v", w, start, end, beyond)
		}
		if w.OutSize%512 != 0 || w.OutSize < w.End-w.Start || w.OutSize-(w.End-w.Start) > 511 {
			t.Fatalf("%+v: the output's size is not the length rounded up", w)
		}
	})
}

func FuzzComputeWindow(f *testing.F) {
	f.Add(int64(1000), int64(512), int64(3), int64(1), true)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), true)
	f.Add(int64(math.MinInt64), int64(-1), int64(math.MinInt64), int64(-7), true)
	f.Fuzz(func(t *testing.T, size, bs, count, skip int64, counted bool) {
		var c *int64
		if counted {
			c = &count
		}
		w := ComputeWindow(size, bs, c, skip)
		if w.Start < 0 || w.End < w.Start || w.OutSize < 0 || w.OutSize%512 != 0 {
			t.Fatalf("%+v", w)
		}
	})
}

func ExampleParseOperands() {
	o, err := ParseOperands([]string{"if=disk.qcow2", "of=part.raw", "bs=1M", "skip=4", "count=12"}, "", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(o.BlockSize, *o.Count, o.Skip, o.OutputFormat)
	// Output: 1048576 12 4 raw
}

func ExampleComputeWindow() {
	count := int64(12)
	w := ComputeWindow(10<<30, 1<<20, &count, 4)
	fmt.Println(w.Start>>20, w.End>>20, w.OutSize>>20)
	// Output: 4 12 8
}
