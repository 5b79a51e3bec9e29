package luks

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sort"
	"strconv"

	"instar/disk"
)

// Sizes of a version 2 header (LUKS2 specification, 2.1 and 2.2).
const (
	v2Binary  = 4096
	v2MaxSize = 4 << 20
	v2Second  = "SKUL\xba\xbe"
)

// metadata is the JSON of a version 2 header, as far as it is used here.
type metadata struct {
	Keyslots map[string]struct {
		Type    string `json:"type"`
		KeySize int    `json:"key_size"`
		AF      struct {
			Type    string `json:"type"`
			Stripes int    `json:"stripes"`
			Hash    string `json:"hash"`
		} `json:"af"`
		Area struct {
			Type       string `json:"type"`
			Offset     string `json:"offset"`
			Encryption string `json:"encryption"`
			KeySize    int    `json:"key_size"`
		} `json:"area"`
		KDF struct {
			Type       string `json:"type"`
			Salt       []byte `json:"salt"`
			Hash       string `json:"hash"`
			Iterations int64  `json:"iterations"`
			Time       int64  `json:"time"`
			Memory     int64  `json:"memory"`
			CPUs       int64  `json:"cpus"`
		} `json:"kdf"`
	} `json:"keyslots"`
	Segments map[string]struct {
		Type       string   `json:"type"`
		Offset     string   `json:"offset"`
		Size       string   `json:"size"`
		IVTweak    string   `json:"iv_tweak"`
		Encryption string   `json:"encryption"`
		SectorSize int64    `json:"sector_size"`
		Flags      []string `json:"flags"`
	} `json:"segments"`
	Digests map[string]struct {
		Type       string   `json:"type"`
		Keyslots   []string `json:"keyslots"`
		Segments   []string `json:"segments"`
		Hash       string   `json:"hash"`
		Iterations uint32   `json:"iterations"`
		Salt       []byte   `json:"salt"`
		Digest     []byte   `json:"digest"`
	} `json:"digests"`
	Config struct {
		Requirements struct {
			Mandatory []string `json:"mandatory"`
		} `json:"requirements"`
	} `json:"config"`
}

// readV2 reads the primary header at off, or the secondary one where the
// primary is damaged.
func readV2(r io.ReaderAt, off int64) (*Header, error) {
	h, size, err := readV2At(r, off, Magic)
	if corrupt := new(disk.FormatError); errors.As(err, &corrupt) && size > 0 {
		if second, _, err := readV2At(r, off+size, v2Second); err == nil {
			return second, nil
		}
	}
	return h, err
}

func readV2At(r io.ReaderAt, off int64, magic string) (*Header, int64, error) {
	var p [v2Binary]byte
	if err := disk.ReadStored(r, p[:], off); err != nil {
		return nil, 0, err
	}
	size := binary.BigEndian.Uint64(p[8:])
	if size < 2*v2Binary || size > v2MaxSize || size&(size-1) != 0 {
		return nil, 0, disk.Corruptf(formatName, "LUKS2 header of %d bytes", size)
	}
	all := make([]byte, size)
	if err := disk.ReadStored(r, all, off); err != nil {
		return nil, int64(size), err
	}
	if string(all[:6]) != magic || !checksumFits(all) {
		return nil, int64(size), disk.Corruptf(formatName, "LUKS2 header checksum does not match")
	}
	body, _, _ := bytes.Cut(all[v2Binary:], []byte{0})
	var m metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, int64(size), disk.Corruptf(formatName, "LUKS2 metadata cannot be parsed")
	}
	h, err := m.header()
	if err != nil {
		return nil, int64(size), err
	}
	h.UUID = text(p[168:208])
	return h, int64(size), nil
}

// checksumFits verifies the checksum of a header, which is taken with the
// checksum's own field zeroed.
func checksumFits(all []byte) bool {
	field := all[448:512]
	stored := bytes.Clone(field)
	clear(field)
	switch text(all[72:104]) {
	case "sha256":
		sum := sha256.Sum256(all)
		return bytes.Equal(stored[:len(sum)], sum[:])
	case "sha512":
		sum := sha512.Sum512(all)
		return bytes.Equal(stored, sum[:])
	}
	return false
}

func (m *metadata) header() (*Header, error) {
	if len(m.Config.Requirements.Mandatory) > 0 {
		return nil, disk.Unsupportedf(formatName, "LUKS2 volume with requirement %q", m.Config.Requirements.Mandatory[0])
	}
	segment, ok := m.Segments["0"]
	if !ok || len(m.Segments) != 1 || segment.Type != "crypt" || len(segment.Flags) > 0 {
		return nil, disk.Unsupportedf(formatName, "LUKS2 volume that is not one encrypted segment")
	}
	h := &Header{Version: 2, Cipher: segment.Encryption, SectorSize: segment.SectorSize}
	var err error
	if h.Payload, err = decimal(segment.Offset); err != nil {
		return nil, err
	}
	if segment.Size != "dynamic" {
		if h.Length, err = decimal(segment.Size); err != nil || h.Length == 0 {
			return nil, disk.Corruptf(formatName, "LUKS2 segment of %q bytes", segment.Size)
		}
	}
	tweak, err := decimal(segment.IVTweak)
	if err != nil {
		return nil, err
	}
	h.firstIV = uint64(tweak)
	return h, m.addKeys(h)
}

// addKeys adds the keyslots that open segment 0, in ascending order, and its
// digest.
func (m *metadata) addKeys(h *Header) error {
	if len(m.Keyslots) > maxKeyslots {
		return disk.Unsupportedf(formatName, "LUKS2 volume with %d keyslots", len(m.Keyslots))
	}
	var ids []string
	digests := 0
	for _, d := range m.Digests {
		if !slices.Contains(d.Segments, "0") {
			continue // of a key that encrypts nothing here (cryptsetup luksAddKey --unbound)
		}
		if digests++; digests > 1 {
			return disk.Unsupportedf(formatName, "LUKS2 volume with two digests")
		}
		if d.Type != "pbkdf2" || len(d.Salt) > maxSalt || len(d.Digest) == 0 || len(d.Digest) > maxSalt {
			return disk.Unsupportedf(formatName, "LUKS2 digest of type %q", d.Type)
		}
		var err error
		if h.digest, err = newDigest(d.Hash, d.Iterations, d.Salt, d.Digest); err != nil {
			return err
		}
		ids = d.Keyslots
	}
	sort.Strings(ids)
	for _, id := range ids {
		k, ok := m.Keyslots[id]
		if !ok || k.Type != "luks2" || k.Area.Type != "raw" || k.AF.Type != "luks1" {
			continue // reencryption, and slots of other kinds
		}
		area, err := decimal(k.Area.Offset)
		if err != nil {
			return err
		}
		slot := keyslot{
			kdf: kdf{
				kind: k.KDF.Type, hash: k.KDF.Hash, salt: k.KDF.Salt, iterations: k.KDF.Iterations,
				passes: k.KDF.Time, memory: k.KDF.Memory, lanes: k.KDF.CPUs,
			},
			cipher: k.Area.Encryption, keySize: k.Area.KeySize, area: area, stripes: k.AF.Stripes, afHash: k.AF.Hash,
		}
		if k.KeySize < 1 || k.KeySize > maxKey || (h.keySize != 0 && h.keySize != k.KeySize) {
			return disk.Corruptf(formatName, "LUKS2 key of %d bytes", k.KeySize)
		}
		h.keySize = k.KeySize
		if err := h.add(slot); err != nil {
			return err
		}
		h.listed = append(h.listed, slot.list())
	}
	if len(h.listed) == 0 {
		return disk.Unsupportedf(formatName, "LUKS2 volume without a keyslot for a passphrase")
	}
	return h.check()
}

// decimal reads a number of bytes as LUKS2 writes it.
func decimal(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<62 {
		return 0, disk.Corruptf(formatName, "LUKS2 number %q", s)
	}
	return n, nil
}
