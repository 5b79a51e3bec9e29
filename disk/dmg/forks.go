package dmg

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"instar/disk"
)

// parsePlist calls add with every piece of data in a property list. What keys
// they are filed under does not matter, as in QEMU: a table is known by its
// magic number.
func parsePlist(p []byte, add func([]byte) error) error {
	const open, end = "<data>", "</data>"
	for {
		_, after, found := bytes.Cut(p, []byte(open))
		if !found {
			return nil
		}
		coded, rest, found := bytes.Cut(after, []byte(end))
		if !found {
			return disk.Corruptf(formatName, "the property list has data that does not end")
		}
		data, err := decodeBase64(coded)
		if err != nil {
			return err
		}
		if err := add(data); err != nil {
			return err
		}
		p = rest
	}
}

// decodeBase64 decodes in place. Blanks do not count.
func decodeBase64(p []byte) ([]byte, error) {
	kept := p[:0]
	for _, b := range p {
		switch b {
		case ' ', '\t', '\r', '\n':
		default:
			kept = append(kept, b)
		}
	}
	n, err := base64.StdEncoding.Decode(kept, kept)
	if err != nil {
		return nil, disk.Corruptf(formatName, "the property list has data that is not base64")
	}
	return kept[:n], nil
}

// parseResources calls add with every resource of a resource fork (Inside
// Macintosh: More Macintosh Toolbox, 1-121): data that begins and ends where the
// header says, each piece behind its length. The map behind them, which names
// them, is not needed.
func parseResources(p []byte, add func([]byte) error) error {
	if len(p) < 16 {
		return disk.Corruptf(formatName, "the resource fork is cut short")
	}
	offset, length := uint64(binary.BigEndian.Uint32(p)), uint64(binary.BigEndian.Uint32(p[8:]))
	if length == 0 || offset+length > uint64(len(p)) {
		return disk.Corruptf(formatName, "the resource fork says that its data lies outside of it")
	}
	p = p[offset : offset+length]
	for len(p) > 0 {
		if len(p) < 4 {
			return disk.Corruptf(formatName, "a resource is cut short")
		}
		n := uint64(binary.BigEndian.Uint32(p))
		p = p[4:]
		if n == 0 || n > uint64(len(p)) {
			return disk.Corruptf(formatName, "a resource of %d bytes, where %d are left", n, len(p))
		}
		if err := add(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
