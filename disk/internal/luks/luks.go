// Package luks unlocks LUKS volumes, versions 1 and 2, and decrypts their
// sectors: for LUKS containers and for encrypted qcow2 images.
//
// The formats are those of the "LUKS1 On-Disk Format Specification" 1.2.3 and
// the "LUKS2 On-Disk Format Specification" 1.1.
package luks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"instar/disk"
)

const formatName = "luks"

// Magic begins every LUKS header; two bytes with the version follow.
const Magic = "LUKS\xba\xbe"

// Errors of Unlock, each a *disk.PassphraseError with qemu-img's text.
var (
	ErrNoPassphrase    error = &disk.PassphraseError{Format: formatName, Msg: "Parameter 'key-secret' is required for cipher"}
	ErrWrongPassphrase error = &disk.PassphraseError{Format: formatName, Msg: "Invalid password, cannot unlock any keyslot"}
)

// Limits on what a header may ask for.
const (
	maxKey        = 64 // bytes
	maxStripes    = 16384
	maxIterations = 100 << 20
	maxSalt       = 1024 // bytes
	maxKeyslots   = 32
)

// A Header is a LUKS header, read and checked.
type Header struct {
	Version    int
	UUID       string
	Cipher     string // as dm-crypt writes it: aes-xts-plain64
	Hash       string // of the key derivation; LUKS1
	Payload    int64  // where the encrypted content begins, in bytes
	Length     int64  // of the content in bytes; 0 is up to the end of the file
	SectorSize int64  // bytes that one initialization vector serves: 512 to 4096
	firstIV    uint64
	keySize    int // bytes
	slots      []keyslot
	digest     digest
	listed     []any // the keyslots as they are shown
	// unsupported is why the content can be read with no passphrase, and
	// slotUnsupported why one keyslot or more cannot be opened; nil is for neither.
	unsupported, slotUnsupported error
}

// A keyslot is one way to the volume key.
type keyslot struct {
	kdf     kdf
	cipher  string
	keySize int // of the key that encrypts the area, in bytes
	area    int64
	stripes int
	afHash  string
}

// A digest tells whether a volume key is the right one.
type digest struct {
	hash       string
	iterations int
	salt, sum  []byte
}

// ReadHeader reads the LUKS header at off of r. It is a *disk.FormatError for
// what is damaged and a *disk.UnsupportedError for what this program does not
// understand. What it understands and has no cipher for is an error of Unlock.
func ReadHeader(r io.ReaderAt, off int64) (*Header, error) {
	var p [v1Size]byte
	if err := disk.ReadStored(r, p[:], off); err != nil {
		return nil, err
	}
	if string(p[:6]) != Magic {
		return nil, disk.Corruptf(formatName, "Volume is not in LUKS format")
	}
	switch version := binary.BigEndian.Uint16(p[6:]); version {
	case 1:
		return decodeV1(p[:])
	case 2:
		return readV2(r, off)
	default:
		return nil, disk.Unsupportedf(formatName, "LUKS version %d is not supported", version)
	}
}

// Sizes and marks of a version 1 header (LUKS1 specification, figures 1 and 2).
const (
	v1Size      = 592
	v1Slots     = 8
	v1SlotsAt   = 208
	v1SlotSize  = 48
	v1Active    = 0x00ac71f3
	v1Inactive  = 0x0000dead
	v1DigestLen = 20
)

func decodeV1(p []byte) (*Header, error) {
	be := binary.BigEndian
	h := &Header{
		Version:    1,
		Cipher:     text(p[8:40]) + "-" + text(p[40:72]),
		Hash:       text(p[72:104]),
		Payload:    int64(be.Uint32(p[104:])) * disk.SectorSize,
		SectorSize: disk.SectorSize,
		UUID:       text(p[168:208]),
	}
	keySize, iterations := be.Uint32(p[108:]), be.Uint32(p[164:])
	if keySize == 0 || keySize > maxKey {
		return nil, disk.Corruptf(formatName, "LUKS key of %d bytes", keySize)
	}
	h.keySize = int(keySize)
	var err error
	if h.digest, err = newDigest(h.Hash, iterations, p[132:164], p[112:][:v1DigestLen]); err != nil {
		return nil, err
	}
	for i := range v1Slots {
		s := p[v1SlotsAt+i*v1SlotSize:][:v1SlotSize]
		h.listed = append(h.listed, listSlot(s))
		switch be.Uint32(s) {
		case v1Inactive:
			continue
		case v1Active:
		default:
			return nil, disk.Corruptf(formatName, "Keyslot %d state is corrupted", i)
		}
		slot := keyslot{
			kdf:     kdf{kind: "pbkdf2", hash: h.Hash, iterations: int64(be.Uint32(s[4:])), salt: bytes.Clone(s[8:40])},
			cipher:  h.Cipher,
			keySize: h.keySize,
			area:    int64(be.Uint32(s[40:])) * disk.SectorSize,
			stripes: int(be.Uint32(s[44:])),
			afHash:  h.Hash,
		}
		if err := h.add(slot); err != nil {
			return nil, err
		}
	}
	return h, h.check()
}

// add adds a keyslot. One that cannot be opened here does not stand in the way of
// others.
func (h *Header) add(s keyslot) error {
	err := s.check()
	if supported(err, &h.slotUnsupported) {
		h.slots = append(h.slots, s)
	}
	return corrupt(err)
}

// supported reports whether there is no error, and notes one that is about what
// is beyond this program.
func supported(err error, why *error) bool {
	var u *disk.UnsupportedError
	if errors.As(err, &u) && *why == nil {
		*why = err
	}
	return err == nil
}

// corrupt returns err unless it is about what is beyond this program.
func corrupt(err error) error {
	var u *disk.UnsupportedError
	if errors.As(err, &u) {
		return nil
	}
	return err
}

func text(p []byte) string {
	s, _, _ := strings.Cut(string(p), "\x00")
	return s
}

func newDigest(hash string, iterations uint32, salt, sum []byte) (digest, error) {
	if iterations == 0 || iterations > maxIterations {
		return digest{}, disk.Corruptf(formatName, "LUKS key digest of %d iterations", iterations)
	}
	return digest{hash: hash, iterations: int(iterations), salt: bytes.Clone(salt), sum: bytes.Clone(sum)}, nil
}

func (s *keyslot) check() error {
	if s.stripes < 1 || s.stripes > maxStripes || s.keySize < 1 || s.keySize > maxKey {
		return disk.Corruptf(formatName, "LUKS keyslot with %d stripes of %d bytes", s.stripes, s.keySize)
	}
	if err := s.kdf.check(); err != nil {
		return err
	}
	if _, err := hashByName(s.afHash); err != nil {
		return err
	}
	_, err := newCipher(s.cipher, make([]byte, s.keySize))
	return err
}

func (h *Header) check() error {
	if h.SectorSize < 512 || h.SectorSize > 4096 || h.SectorSize&(h.SectorSize-1) != 0 {
		return disk.Corruptf(formatName, "LUKS sector size %d", h.SectorSize)
	}
	if h.Length < 0 || h.Payload < 0 || h.Payload%disk.SectorSize != 0 {
		return disk.Corruptf(formatName, "LUKS payload offset %d", h.Payload)
	}
	for _, check := range []func() error{
		func() error { _, err := newCipher(h.Cipher, make([]byte, h.keySize)); return err },
		func() error { _, err := hashByName(h.digest.hash); return err },
	} {
		err := check()
		supported(err, &h.unsupported)
		if err := corrupt(err); err != nil {
			return err
		}
	}
	if len(h.slots) == 0 && h.unsupported == nil {
		h.unsupported = h.slotUnsupported
	}
	return nil
}

// Unlock finds the volume key by a passphrase, which must not be nil, and
// returns what decrypts the content. base is where the header is in r. The error is
// a *disk.UnsupportedError where the volume can be described, and not be read.
func (h *Header) Unlock(r io.ReaderAt, base int64, passphrase []byte) (*Volume, error) {
	switch {
	case h.unsupported != nil:
		return nil, h.unsupported
	case passphrase == nil:
		return nil, ErrNoPassphrase
	}
	for _, s := range h.slots {
		key, err := s.open(r, base, h.keySize, passphrase)
		if err != nil {
			return nil, err
		}
		if ok, err := h.digest.matches(key); err != nil {
			return nil, err
		} else if ok {
			c, err := newCipher(h.Cipher, key)
			clear(key)
			return &Volume{cipher: c, sector: h.SectorSize, firstIV: h.firstIV}, err
		}
		clear(key)
	}
	if h.slotUnsupported != nil {
		return nil, h.slotUnsupported
	}
	return nil, ErrWrongPassphrase
}

// open derives the slot's key from the passphrase and returns what it unlocks:
// the volume key, if the passphrase is the slot's.
func (s *keyslot) open(r io.ReaderAt, base int64, keySize int, passphrase []byte) ([]byte, error) {
	derived, err := s.kdf.derive(passphrase, s.keySize)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	c, err := newCipher(s.cipher, derived)
	if err != nil {
		return nil, err
	}
	length := keySize * s.stripes
	material := make([]byte, (length+disk.SectorSize-1)&^(disk.SectorSize-1))
	defer clear(material)
	if err := disk.ReadStored(r, material, base+s.area); err != nil {
		return nil, fmt.Errorf("read key material: %w", err)
	}
	for i := 0; i < len(material); i += disk.SectorSize {
		c.decrypt(material[i:][:disk.SectorSize], uint64(i/disk.SectorSize))
	}
	return merge(material[:length], keySize, s.stripes, s.afHash)
}

// A Volume decrypts the content of an unlocked LUKS volume. It may be used from
// several goroutines at once.
type Volume struct {
	cipher  sectorCipher
	sector  int64 // bytes of an encryption sector
	firstIV uint64
}

// Read fills p with the plaintext of what r has at stored. pos is its position
// in bytes by which it was encrypted; positions need not be aligned. What lies
// beyond the end of r is taken for zeros, and decrypted as such.
func (v *Volume) Read(r io.ReaderAt, p []byte, stored, pos int64) error {
	for len(p) > 0 {
		in := pos % v.sector
		n := int64(len(p))
		if in == 0 && n >= v.sector {
			n -= n % v.sector
			if err := disk.ReadStored(r, p[:n], stored); err != nil {
				return err
			}
			v.decrypt(p[:n], pos)
		} else {
			part := make([]byte, v.sector)
			if err := disk.ReadStored(r, part, stored-in); err != nil {
				return err
			}
			v.decrypt(part, pos-in)
			n = int64(copy(p, part[in:]))
		}
		p, stored, pos = p[n:], stored+n, pos+n
	}
	return nil
}

// decrypt decrypts p, whole encryption sectors of which the first is at pos.
func (v *Volume) decrypt(p []byte, pos int64) {
	iv := v.firstIV + uint64(pos/disk.SectorSize)
	for ; len(p) > 0; p = p[v.sector:] {
		v.cipher.decrypt(p[:v.sector], iv)
		iv += uint64(v.sector / disk.SectorSize)
	}
}
