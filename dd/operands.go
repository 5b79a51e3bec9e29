package dd

import (
	"errors"
	"math"
	"strings"

	"instar/internal/qemunum"
)

// DefaultBlockSize is the bs of a dd that is given none, in bytes.
const DefaultBlockSize = 512

// MaxBlockSize is the greatest bs in bytes: QEMU keeps it in an int
// (qemu-img.c, img_dd_bs).
const MaxBlockSize = math.MaxInt32

// DefaultOutputFormat is the format that is written when none is asked for,
// whatever the input's.
const DefaultOutputFormat = "raw"

// Operands are what a dd was asked to do.
type Operands struct {
	Input        string // name of the input image
	Output       string // name of the output image
	InputFormat  string // forced format of the input; empty has it detected
	OutputFormat string // format of the output
	BlockSize    int64  // bytes, 1 to MaxBlockSize
	Count        *int64 // blocks of input to take, from 0; nil is all
	Skip         int64  // blocks of input to leave out at its start, from 0
}

// ErrMissingFile says that if= or of= was not given.
var ErrMissingFile = errors.New("Must specify both input and output files") //nolint:staticcheck // qemu-img's text

// An OperandError says that dd knows no such operand.
type OperandError struct{ Key string }

func (e *OperandError) Error() string { return "unrecognized operand " + e.Key }

// ParseOperands reads the operands of a dd, each of the form KEY=VALUE: if and
// of (names), bs (bytes), count and skip (blocks). A value begins after the
// first equals sign. The last value of a key counts, but every one is checked,
// in order. outputFormat is the -O that was given; empty is
// DefaultOutputFormat. The error is an *OperandError, a *qemunum.ValueError or
// ErrMissingFile.
func ParseOperands(args []string, inputFormat, outputFormat string) (Operands, error) {
	o := Operands{InputFormat: inputFormat, OutputFormat: outputFormat, BlockSize: DefaultBlockSize}
	if o.OutputFormat == "" {
		o.OutputFormat = DefaultOutputFormat
	}
	var haveInput, haveOutput bool
	for _, arg := range args {
		key, value, found := strings.Cut(arg, "=")
		if !found {
			return Operands{}, &OperandError{Key: arg}
		}
		var err error
		switch key {
		case "if":
			o.Input, haveInput = value, true
		case "of":
			o.Output, haveOutput = value, true
		case "bs":
			o.BlockSize, err = qemunum.ParseBetween("bs", value, 1, MaxBlockSize)
		case "count":
			var n int64
			n, err = qemunum.ParseBetween("count", value, 0, math.MaxInt64)
			o.Count = &n
		case "skip":
			o.Skip, err = qemunum.ParseBetween("skip", value, 0, math.MaxInt64)
		default:
			return Operands{}, &OperandError{Key: key}
		}
		if err != nil {
			return Operands{}, err
		}
	}
	if !haveInput || !haveOutput {
		return Operands{}, ErrMissingFile
	}
	return o, nil
}
