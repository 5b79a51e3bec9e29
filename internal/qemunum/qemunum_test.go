package qemunum

import (
	"errors"
	"math"
	"math/big"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"instar/internal/testutil"
)

func TestParse(t *testing.T) {
	syntax, outside := ErrSyntax, ErrRange
	for _, c := range []struct {
		in   string
		want uint64
		err  error
	}{
		{"512", 512, nil},
		{"0", 0, nil},
		{"08", 8, nil},
		{"010", 10, nil},
		{" 512", 512, nil},
		{"\t512", 512, nil},
		{"\n\v\f\r 512", 512, nil},
		{"+512", 512, nil},
		{" +512", 512, nil},
		{"1b", 1, nil},
		{"1B", 1, nil},
		{"8388608b", 8388608, nil},
		{"1k", 1 << 10, nil},
		{"1K", 1 << 10, nil},
		{"1m", 1 << 20, nil},
		{"1M", 1 << 20, nil},
		{"1g", 1 << 30, nil},
		{"1G", 1 << 30, nil},
		{"1t", 1 << 40, nil},
		{"1T", 1 << 40, nil},
		{"1p", 1 << 50, nil},
		{"1P", 1 << 50, nil},
		{"1e", 1 << 60, nil},
		{"1E", 1 << 60, nil},
		{"30K", 30720, nil},
		{"0x200", 512, nil},
		{"0X200", 512, nil},
		{"0x1b", 27, nil},
		{"0x1E", 30, nil},
		{"+0xff", 255, nil},
		{"0xffffffffffffffff", math.MaxUint64, nil},
		{"1.5k", 1536, nil},
		{"1.k", 1024, nil},
		{"1.", 1, nil},
		{"0.5k", 512, nil},
		{".5k", 512, nil},
		{"+.5k", 512, nil},
		{" .5k", 512, nil},
		{"1.0", 1, nil},
		{"1.000", 1, nil},
		{"1.0b", 1, nil},
		{".0", 0, nil},
		{"1.0005k", 1025, nil},
		{"0.0004k", 0, nil},
		{"1.5e", 3 << 59, nil},
		{"1.5E", 3 << 59, nil},
		{"0.99999999999999999999k", 1024, nil},
		{"0." + strings.Repeat("0", 400) + "1k", 0, nil},
		{"18446744073709551615", math.MaxUint64, nil},
		{"8E", 1 << 63, nil},
		{"15.9999E", 18446628781559090944, nil},

		{"512 ", 0, syntax},
		{"1kk", 0, syntax},
		{"1kB", 0, syntax},
		{"1KiB", 0, syntax},
		{"512s", 0, syntax},
		{"512c", 0, syntax},
		{"512w", 0, syntax},
		{"1x512", 0, syntax},
		{"1e3", 0, syntax},
		{"1.5e3", 0, syntax},
		{"0b10", 0, syntax},
		{"0o10", 0, syntax},
		{"1_000", 0, syntax},
		{"0x1_0", 0, syntax},
		{"", 0, syntax},
		{" ", 0, syntax},
		{"+", 0, syntax},
		{"-", 0, syntax},
		{"k", 0, syntax},
		{"abc", 0, syntax},
		{"inf", 0, syntax},
		{"nan", 0, syntax},
		{".", 0, syntax},
		{".k", 0, syntax},
		{"0x", 0, syntax},
		{"0xg", 0, syntax},
		{"0x1k", 0, syntax},
		{"0x1.8k", 0, syntax},
		{"0x-1", 0, syntax},
		{"-0x1", 0, syntax},
		{"1.5", 0, syntax},
		{"1.5b", 0, syntax},
		{".5", 0, syntax},
		{"-1k", 0, syntax},
		{"-1.5k", 0, syntax},
		{"-1.5", 0, syntax},
		{"-1.", 0, syntax},
		{"-.", 0, syntax},
		{"-.5k", 0, syntax},
		{"- 1", 0, syntax},
		{"--1", 0, syntax},
		{"99999999999999999999k", 0, syntax},
		{"99999999999999999999.0", 0, syntax},
		{"1\x00", 0, syntax},
		{"١", 0, syntax},

		{"-1", 0, outside},
		{"-0", 0, outside},
		{"-512", 0, outside},
		{" -1", 0, outside},
		{"-.5", 0, outside},
		{"-99999999999999999999", 0, outside},
		{"18446744073709551616", 0, outside},
		{"99999999999999999999", 0, outside},
		{"16E", 0, outside},
		{"15.99999999999999999999E", 0, outside},
		{"0x10000000000000000", 0, outside},
	} {
		got, err := Parse(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Parse(%q) = %d, %v; want %d, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestParseBetween(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"1", ""},
		{"2147483647", ""},
		{"0", "Invalid bs specified. Must be between 1 and 2147483647."},
		{"2147483648", "Invalid bs specified. Must be between 1 and 2147483647."},
		{"-1", "Invalid bs specified. Must be between 1 and 2147483647."},
		{"8E", "Invalid bs specified. Must be between 1 and 2147483647."},
		{"16E", "Invalid bs specified. Must be between 1 and 2147483647."},
		{"0.0004k", "Invalid bs specified. Must be between 1 and 2147483647."},
		{"abc", "Invalid bs specified: 'abc'"},
		{"", "Invalid bs specified: ''"},
	} {
		_, err := ParseBetween("bs", c.value, 1, math.MaxInt32)
		if got := message(err); got != c.want {
			t.Errorf("bs=%s: %q, want %q", c.value, got, c.want)
		}
	}
	if n, err := ParseBetween("count", "9223372036854775807", 0, math.MaxInt64); n != math.MaxInt64 || err != nil {
		t.Errorf("greatest count: %d, %v", n, err)
	}
	if _, err := ParseBetween("count", "8E", 0, math.MaxInt64); !errors.Is(err, ErrRange) {
		t.Errorf("2^63: %v", err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestScaleIsExact compares with arithmetic that cannot overflow, for
// fractions that a double holds exactly.
func TestScaleIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.Uint64().Draw(t, "whole")
		sixteenths := rapid.IntRange(0, 15).Draw(t, "sixteenths")
		shift := rapid.IntRange(1, 6).Draw(t, "shift")
		fraction := strconv.FormatFloat(float64(sixteenths)/16, 'f', -1, 64)
		text := strconv.FormatUint(whole, 10) + strings.TrimPrefix(fraction, "0") + string(" kMGTPE"[shift])

		want := new(big.Int).SetUint64(whole)
		want.Mul(want, big.NewInt(16)).Add(want, big.NewInt(int64(sixteenths)))
		want.Lsh(want, uint(10*shift)).Rsh(want, 4)

		got, err := Parse(text)
		if want.IsUint64() && (got != want.Uint64() || err != nil) {
			t.Fatalf("Parse(%q) = %d, %v; want %v", text, got, err, want)
		}
		if !want.IsUint64() && !errors.Is(err, ErrRange) {
			t.Fatalf("Parse(%q) = %d, %v; want out of range", text, got, err)
		}
	})
}

// TestParseAsQemu has the real program read sizes, where all its versions
// agree: it creates a raw image of that size and says how long it is.
func TestParseAsQemu(t *testing.T) {
	qemu := testutil.QemuImg(t)
	image := filepath.Join(t.TempDir(), "image")
	for _, text := range []string{
		"1k", "1.5k", "1.0005k", "3.3M", "0.7G", "1.999999k", "2.0009765625k", "1.23456789M", "0x1000", "010", "+5k",
		" 7k", "1.k", "1.0", "0.1T", "5b", "1x", "1kB", "0.3k", "1.5", "1e3", "k", "0.33333333333333333k",
	} {
		err := exec.Command(qemu, "create", "-q", "-f", "raw", image, text).Run()
		want, parseErr := Parse(text)
		if (err == nil) != (parseErr == nil) {
			t.Errorf("%q: qemu-img says %v, Parse says %v", text, err, parseErr)
			continue
		}
		if err != nil {
			continue
		}
		info := testutil.Run(t, qemu, "info", "--output=json", "-f", "raw", image)
		// The image is rounded up to sectors.
		rounded := strconv.FormatUint((want+511)/512*512, 10)
		if !strings.Contains(info, `"virtual-size": `+rounded+",") {
			t.Errorf("%q: Parse says %d, qemu-img says %s", text, want, info)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"512", "1.5k", ".5k", "0x1E", "-1", "-1k", "16E", "1e3", "99999999999999999999k", " +1.0005k", "0.99999999999999999999E"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil && (n != 0 || !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrRange)) {
			t.Fatalf("Parse(%q) = %d, %v", s, n, err)
		}
		if err == nil {
			if again, err := Parse(strconv.FormatUint(n, 10)); again != n || err != nil {
				t.Fatalf("Parse(%q) = %d, which reads as %d, %v", s, n, again, err)
			}
		}
	})
}
