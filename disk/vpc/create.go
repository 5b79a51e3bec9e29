package vpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"instar/disk"
	"instar/disk/internal/lay"
)

// createOptions are the options of a new image (-o), as qemu-img names them.
type createOptions struct {
	fixed bool // subformat
	exact bool // force_size
}

// parseCreateOptions reads the options.
func parseCreateOptions(values map[string]string) (o createOptions, err error) {
	v, err := lay.Options(formatName, values)
	if err != nil {
		return o, err
	}
	o.exact = v.On("force_size", false)
	switch subformat, given := v.Get("subformat"); {
	case subformat == "fixed":
		o.fixed = true
	case given && subformat != "dynamic":
		return o, fmt.Errorf("Parameter 'subformat' does not accept value '%s'", subformat) //nolint:staticcheck // qemu-img's text
	}
	return o, nil
}

// create begins an image. Nothing that is written before Finish makes a footer.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
	}
	options, err := parseCreateOptions(o.Values)
	if err != nil {
		return nil, err
	}
	if size > maxSize {
		return nil, errors.New("Disk size is too large, max size is 2040 GiB") //nolint:staticcheck // qemu-img's text
	}
	switch {
	case options.fixed && size == 0 && !o.Blank: // QEMU makes one, and does not open it
		return nil, errors.New("Error reading dynamic VHD header") //nolint:staticcheck // qemu-img's text
	case options.fixed && o.Existing:
		return nil, errors.New("a fixed VHD ends where its file does, and cannot be written to a device")
	}
	l := layout{target: t, dense: o.Dense, zeroed: o.Zeroed || !o.Existing, existing: o.Existing}
	l.geometry, l.size = creation(size, options.exact)
	if old, ok := o.Old.(interface{ storedFooter() [footerSize]byte }); ok {
		l.footer = keptFooter(options, old.storedFooter())
	} else {
		l.footer = newFooter(options, l.geometry, l.size, o)
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	if options.fixed {
		return &fixedWriter{l}, t.Truncate(l.size + footerSize)
	}
	return newDynamicWriter(l, size), nil
}

// keptFooter returns the footer of a disk that is laid out anew.
func keptFooter(options createOptions, stored [footerSize]byte) []byte {
	p := stored[:]
	binary.BigEndian.PutUint64(p[16:], options.dataOffset())
	binary.BigEndian.PutUint32(p[footerSum:], checksum(p, footerSum))
	return p
}

// dataOffset returns what the footer says is the offset of the dynamic disk
// header, in bytes.
func (o createOptions) dataOffset() uint64 {
	if o.fixed {
		return math.MaxUint64
	}
	return footerSize
}

// Seconds from the beginning of 1970 to that of 2000, from which VHDs count.
const epoch = 946684800

// newFooter returns the footer of a new disk.
func newFooter(options createOptions, g geometry, size int64, o disk.WriterOptions) []byte {
	be := binary.BigEndian
	p := make([]byte, footerSize)
	copy(p, cookie)
	be.PutUint32(p[8:], 2)      // a feature that is always there
	be.PutUint32(p[12:], 1<<16) // version 1.0
	kind := uint32(typeDynamic)
	if options.fixed {
		kind = typeFixed
	}
	be.PutUint64(p[16:], options.dataOffset())
	be.PutUint32(p[24:], uint32(min(max(o.Time-epoch, 0), math.MaxUint32)))
	copy(p[28:], "qemu")
	if options.exact {
		copy(p[28:], "qem2")
	}
	be.PutUint32(p[32:], 5<<16|3) // of the creator
	copy(p[36:], "Wi2k")
	be.PutUint64(p[40:], uint64(size))
	be.PutUint64(p[48:], uint64(size))
	be.PutUint16(p[56:], g.cylinders)
	p[58], p[59] = g.heads, g.sectors
	be.PutUint32(p[60:], kind)
	id := o.UUID("vpc unique id")
	copy(p[68:], id[:])
	be.PutUint32(p[footerSum:], checksum(p, footerSum))
	return p
}
