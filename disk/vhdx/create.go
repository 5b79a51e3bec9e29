package vhdx

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"instar/disk"
	"instar/disk/internal/lay"
)

// maxTable is the length in bytes of the longest BAT that QEMU writes and reads.
const maxTable = math.MaxInt32

// createOptions are the options of a new image (-o), as qemu-img names them.
type createOptions struct {
	fixed     bool  // subformat
	zeroState bool  // block_state_zero
	block     int64 // bytes; 0 is by the size of the disk
	log       int64 // bytes
}

// parseCreateOptions reads the options of an image for size bytes.
func parseCreateOptions(values map[string]string, size int64) (o createOptions, err error) {
	v, err := lay.Options(formatName, values)
	if err != nil {
		return o, err
	}
	o.zeroState = v.On("block_state_zero", true)
	switch subformat, given := v.Get("subformat"); {
	case subformat == "fixed":
		o.fixed = true
	case given && subformat != "dynamic":
		return o, fmt.Errorf("Parameter 'subformat' does not accept value '%s'", subformat) //nolint:staticcheck // qemu-img's text
	}
	return o, o.setSizes(size, v.NumberOr("block_size", 0), v.NumberOr("log_size", mebibyte))
}

// setSizes rounds and checks the sizes of the log and of blocks.
func (o *createOptions) setSizes(size int64, block, log uint64) error {
	log = (min(log, 1<<62) + mebibyte - 1) / mebibyte * mebibyte
	block = min((min(block, 1<<62)+mebibyte-1)/mebibyte*mebibyte, maxBlock)
	if block == 0 {
		block = defaultBlock(size)
	}
	switch {
	case size > maxSize:
		return errors.New("Image size too large; max of 64TB") //nolint:staticcheck // qemu-img's text
	case log >= 1<<32:
		return errors.New("Log size must be smaller than 4 GB") //nolint:staticcheck // qemu-img's text
	case log == 0:
		return errors.New("Log size must be a multiple of 1 MB") //nolint:staticcheck // qemu-img's text
	case bits.OnesCount64(block) != 1:
		return errors.New("Block size must be a power of two") //nolint:staticcheck // qemu-img's text
	}
	o.block, o.log = int64(block), int64(log)
	return nil
}

// defaultBlock is QEMU's choice for a disk of size bytes.
func defaultBlock(size int64) uint64 {
	switch {
	case size > 32<<40:
		return 64 << 20
	case size > 100<<30:
		return 32 << 20
	case size > 1<<30:
		return 16 << 20
	}
	return 8 << 20
}

// create begins an image. Nothing that is written before Finish makes a header.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
	}
	options, err := parseCreateOptions(o.Values, size)
	if err != nil {
		return nil, err
	}
	w := newWriter(t, size, options, o)
	if w.bat.end-w.bat.start > maxTable {
		return nil, errors.New("Failed to write the BAT: Input/output error") //nolint:staticcheck // qemu-img's text
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	if !o.Existing {
		if err := t.Truncate(w.end); err != nil {
			return nil, err
		}
	}
	return w, nil
}
