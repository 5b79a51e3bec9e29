// Package qemunum reads numbers as qemu-img reads them on its command line.
//
// The grammar is that of QEMU 8.1 and later (util/cutils.c, qemu_strtosz):
// leading blanks, a sign, then either decimal digits with an optional fraction
// and one optional suffix letter, or hexadecimal digits behind 0x and nothing
// more. The suffixes b, k, M, G, T, P and E, in either case, are powers of
// 1024; b is one byte.
package qemunum

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// The two ways in which a number is no good. qemu-img words them differently.
var (
	ErrSyntax = errors.New("not a number")        // the text is no number
	ErrRange  = errors.New("number out of range") // the number is negative, or 2^64 or more
)

// Parse returns the number that s stands for, in bytes. A fraction is rounded
// half up to a byte, and needs a suffix of k or more. The error is ErrSyntax
// or ErrRange.
func Parse(s string) (uint64, error) {
	body := strings.TrimLeft(s, " \t\n\v\f\r")
	if strings.HasPrefix(body, "-") {
		return 0, negative(body[1:])
	}
	body = strings.TrimPrefix(body, "+")
	if len(body) > 1 && body[0] == '0' && body[1]|0x20 == 'x' {
		return parseHex(body[2:])
	}
	return parseDecimal(body)
}

// negative returns what is wrong with a number behind a minus sign: QEMU finds
// it out of range when its digits, on one side of the point only, end the
// text, and no number otherwise.
func negative(body string) error {
	digits := strings.TrimPrefix(body, ".")
	if digits != "" && span(digits, "0123456789") == digits {
		return ErrRange
	}
	return ErrSyntax
}

func parseHex(digits string) (uint64, error) {
	if span(digits, "0123456789abcdefABCDEF") != digits {
		return 0, ErrSyntax
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, kind(err)
	}
	return n, nil
}

// parseDecimal reads digits, a fraction and a suffix.
func parseDecimal(body string) (uint64, error) {
	digits := span(body, "0123456789")
	rest := body[len(digits):]
	fraction, point := "", strings.HasPrefix(rest, ".")
	if point {
		fraction = span(rest[1:], "0123456789")
		rest = rest[1+len(fraction):]
	}
	if digits == "" && fraction == "" {
		return 0, ErrSyntax
	}
	multiplier := uint64(1)
	scaled := rest != ""
	if scaled {
		shift := strings.IndexByte("bkmgtpe", rest[0]|0x20)
		if len(rest) > 1 || shift < 0 {
			return 0, ErrSyntax
		}
		multiplier = 1 << (10 * shift)
	}
	var whole uint64
	if digits != "" {
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			// What is too large already is not looked at any further.
			if rest != "" || point {
				return 0, ErrSyntax
			}
			return 0, kind(err)
		}
		whole = n
	}
	return scale(whole, fraction, multiplier)
}

// scale returns whole.fraction times multiplier, which is a power of two. The
// fraction becomes a double and then 64 bits of fixed point, as in QEMU, so
// that rounding comes out the same.
func scale(whole uint64, fraction string, multiplier uint64) (uint64, error) {
	var part uint64
	if strings.Trim(fraction, "0") != "" {
		f, err := strconv.ParseFloat("0."+fraction, 64)
		switch {
		case err != nil:
			return 0, ErrSyntax
		case f == 1:
			if whole == math.MaxUint64 {
				return 0, ErrRange
			}
			whole++
		default:
			part = max(1, uint64(math.Ldexp(f, 64)))
		}
	}
	if multiplier == 1 {
		if part != 0 {
			return 0, ErrSyntax
		}
		return whole, nil
	}
	high, low := bits.Mul64(whole, multiplier)
	carry, rest := bits.Mul64(part, multiplier)
	low, c := bits.Add64(low, carry, 0)
	high += c
	low, c = bits.Add64(low, rest>>63, 0)
	high += c
	if high != 0 {
		return 0, ErrRange
	}
	return low, nil
}

func span(s, set string) string { return s[:len(s)-len(strings.TrimLeft(s, set))] }

func kind(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return ErrRange
	default:
		return ErrSyntax
	}
}

// A ValueError says that the value of an option or operand is no good, in
// qemu-img's words. It wraps ErrSyntax or ErrRange.
type ValueError struct {
	Name     string // what the number is for, as in "bs"
	Value    string // what was given
	Min, Max int64  // what is allowed
	Err      error
}

func (e *ValueError) Error() string {
	if errors.Is(e.Err, ErrSyntax) {
		return fmt.Sprintf("Invalid %s specified: '%s'", e.Name, e.Value)
	}
	return fmt.Sprintf("Invalid %s specified. Must be between %d and %d.", e.Name, e.Min, e.Max)
}

func (e *ValueError) Unwrap() error { return e.Err }

// ParseBetween returns the number that value stands for if it is in [lo, hi],
// and otherwise a *ValueError that names it name.
func ParseBetween(name, value string, lo, hi int64) (int64, error) {
	n, err := Parse(value)
	if err == nil && (n > math.MaxInt64 || int64(n) < lo || int64(n) > hi) {
		err = ErrRange
	}
	if err != nil {
		return 0, &ValueError{Name: name, Value: value, Min: lo, Max: hi, Err: err}
	}
	return int64(n), nil
}
