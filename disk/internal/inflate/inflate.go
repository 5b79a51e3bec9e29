// Package inflate decompresses units of known length: clusters, grains, chunks.
package inflate

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

// ErrLength says that compressed data holds less than it should.
var ErrLength = errors.New("compressed data ends early")

type decoder struct {
	src  bytes.Reader
	read io.ReadCloser
}

var raws, zlibs sync.Pool

// Raw fills dst from the deflate stream at the start of src (RFC 1951). What
// the stream holds beyond that is not looked at.
func Raw(dst, src []byte) error {
	d, _ := raws.Get().(*decoder)
	if d == nil {
		d = new(decoder)
		d.read = flate.NewReader(&d.src)
	}
	defer raws.Put(d)
	d.src.Reset(src)
	if err := d.read.(flate.Resetter).Reset(&d.src, nil); err != nil {
		return err
	}
	return d.fill(dst)
}

// Zlib fills dst from the zlib stream at the start of src (RFC 1950). The
// checksum at its end is verified when the stream holds just len(dst) bytes.
func Zlib(dst, src []byte) error {
	d, _ := zlibs.Get().(*decoder)
	if d == nil {
		d = new(decoder)
	}
	d.src.Reset(src)
	var err error
	if d.read == nil {
		d.read, err = zlib.NewReader(&d.src)
	} else {
		err = d.read.(zlib.Resetter).Reset(&d.src, nil)
	}
	if err != nil {
		return err
	}
	defer zlibs.Put(d)
	if err := d.fill(dst); err != nil {
		return err
	}
	var one [1]byte
	if _, err := d.read.Read(one[:]); err != nil && err != io.EOF {
		return err
	}
	return nil
}

func (d *decoder) fill(dst []byte) error {
	_, err := io.ReadFull(d.read, dst)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		return ErrLength
	}
	return err
}
