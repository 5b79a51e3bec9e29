// Package luks reads LUKS containers, versions 1 and 2, and writes version 1: a
// header with keyslots, and an encrypted disk behind it.
//
// The formats are those of the "LUKS1 On-Disk Format Specification" 1.2.3 and
// the "LUKS2 On-Disk Format Specification" 1.1. Without the passphrase the header
// can be read and described, and the content cannot. The ciphers are AES in XTS
// and CBC mode with the initialization vectors of dm-crypt (plain, plain64,
// essiv:sha256); keys are derived by PBKDF2, Argon2i and Argon2id.
//
// A header may ask for 32 keyslots, keys of 64 bytes in 16384 stripes, 104857600
// iterations of PBKDF2, and for 512 passes over 4 GiB of memory in 16 lanes of
// Argon2, but no more than the process has.
package luks

import (
	"errors"
	"fmt"

	"instar/disk"
	"instar/disk/internal/luks"
)

const formatName = "luks"

// Format is the LUKS format. QEMU knows version 1 of it.
var Format = disk.Format{Name: formatName, Probe: probe, Open: disk.WithoutSnapshots(formatName, open), Create: create}

func probe(head []byte) int {
	if len(head) >= 8 && string(head[:6]) == luks.Magic && head[6] == 0 && (head[7] == 1 || head[7] == 2) {
		return 100
	}
	return 0
}

type image struct {
	file    disk.File
	info    disk.Info
	payload int64
	sector  int64
	volume  *luks.Volume // nil without the passphrase
}

func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	h, err := luks.ReadHeader(f, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("get the size of the file: %w", err)
	}
	if size < h.Payload {
		return nil, disk.Corruptf(formatName, "LUKS payload is overlapping with the end of the file: offset %d of %d", h.Payload, size)
	}
	size = (size - h.Payload) / h.SectorSize * h.SectorSize
	if h.Length > 0 {
		size = min(size, h.Length/h.SectorSize*h.SectorSize)
	}
	i := &image{
		file: f, payload: h.Payload, sector: h.SectorSize,
		info: disk.Info{Format: formatName, VirtualSize: size, Encrypted: true, Details: h.Details()},
	}
	i.volume, err = h.Unlock(f, 0, o.Passphrase)
	var unsupported *disk.UnsupportedError
	switch {
	case errors.Is(err, luks.ErrNoPassphrase), errors.As(err, &unsupported):
		i.info.Refused = err
	case err != nil:
		return nil, err
	}
	return i, nil
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.info.VirtualSize }

// Extent says that all of the content is encrypted: a hole in the file is none
// in the disk.
func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	if i.volume == nil {
		return disk.Extent{}, i.info.Refused
	}
	return disk.Extent{Start: off, Length: min(limit, i.Size()-off), Kind: disk.Encoded, Layer: i}, nil
}

func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.Size(), p, off, i.read)
}

func (i *image) read(p []byte, off int64) error {
	if i.volume == nil {
		return i.info.Refused
	}
	return i.volume.Read(i.file, p, i.payload+off, off)
}
