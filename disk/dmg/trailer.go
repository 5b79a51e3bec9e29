package dmg

import (
	"bytes"
	"encoding/binary"
	"math"

	"instar/disk"
)

const (
	formatName  = "dmg"
	magic       = "koly"
	trailerSize = 512

	// maxTable is the greatest property list or resource fork in bytes.
	maxTable = 16 << 20
)

var errNoTrailer = disk.Corruptf(formatName, "Could not locate UDIF trailer in dmg file")

// A trailer says where things are. All offsets are those of the file.
type trailer struct {
	at       int64 // where it begins
	data     int64 // what the offsets of chunks are relative to
	resource part  // resource fork
	plist    part  // property list
	sectors  int64
}

// A part is a part of the file.
type part struct{ offset, length int64 }

// probeEnd reports whether p is a trailer that can be believed.
func probeEnd(p []byte) bool {
	if len(p) != trailerSize || string(p[:4]) != magic {
		return false
	}
	_, err := parseTrailer(p, math.MaxInt64)
	return err == nil
}

// readTrailer finds the trailer. Up to 511 bytes may follow it, as in QEMU.
func readTrailer(f disk.File) (trailer, error) {
	size, err := f.Size()
	if err != nil {
		return trailer{}, err
	}
	if size < trailerSize {
		return trailer{}, errNoTrailer
	}
	p := make([]byte, min(size, 2*trailerSize-1))
	start := size - int64(len(p))
	if err := disk.ReadStored(f, p, start); err != nil {
		return trailer{}, err
	}
	k := bytes.Index(p[:len(p)-trailerSize+len(magic)], []byte(magic))
	if k < 0 {
		return trailer{}, errNoTrailer
	}
	return parseTrailer(p[k:k+trailerSize], start+int64(k))
}

// parseTrailer reads the trailer p, which begins at an offset of the file: what
// it speaks of comes before it.
func parseTrailer(p []byte, at int64) (trailer, error) {
	number := func(at int) int64 { return int64(binary.BigEndian.Uint64(p[at:])) }
	t := trailer{
		at:       at,
		data:     number(0x18),
		resource: part{number(0x28), number(0x30)},
		plist:    part{number(0xd8), number(0xe0)},
		sectors:  number(0x1ec),
	}
	switch {
	case t.sectors < 0 || t.sectors > math.MaxInt64/disk.SectorSize:
		return t, disk.Corruptf(formatName, "invalid number of sectors %d", uint64(t.sectors))
	case t.data < 0 || t.data > at:
		return t, disk.Corruptf(formatName, "the data fork begins behind the trailer")
	case !t.resource.before(at):
		return t, disk.Corruptf(formatName, "the resource fork reaches beyond the trailer")
	case !t.plist.before(at):
		return t, disk.Corruptf(formatName, "the property list reaches beyond the trailer")
	}
	return t, nil
}

// before reports whether a part ends at an offset or before.
func (p part) before(end int64) bool {
	return p.offset >= 0 && p.length >= 0 && p.offset < end && p.length <= end-p.offset
}

// readTables returns what the trailer says that the tables are in, and chunks
// from there.
func (t trailer) readTables(f disk.File) ([]chunk, error) {
	from, parse, name := t.resource, parseResources, "resource fork"
	if from.length == 0 {
		from, parse, name = t.plist, parsePlist, "property list"
	}
	switch {
	case from.length == 0:
		return nil, disk.Corruptf(formatName, "there are no tables of chunks")
	case from.length > maxTable:
		return nil, disk.Corruptf(formatName, "the %s has %d bytes, more than %d", name, from.length, maxTable)
	}
	p := make([]byte, from.length)
	if err := disk.ReadStored(f, p, from.offset); err != nil {
		return nil, err
	}
	tables := tables{data: t.data}
	if err := parse(p, tables.add); err != nil {
		return nil, err
	}
	return tables.sorted()
}
