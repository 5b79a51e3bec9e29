package luks

import (
	"crypto/pbkdf2"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20"

	"instar/disk"
)

// An Options is how a new volume is encrypted.
type Options struct {
	cipher     string // as dm-crypt writes it
	keySize    int    // bytes
	hash       string
	iterations int64 // of the keyslot
}

// Names of a new volume's options, behind a prefix, with what QEMU knows.
var optionValues = []struct {
	name   string
	values []string
}{
	{"cipher-alg", []string{
		"aes-128", "aes-192", "aes-256", "des", "3des", "cast5-128", "serpent-128", "serpent-192", "serpent-256",
		"twofish-128", "twofish-192", "twofish-256",
	}},
	{"cipher-mode", []string{"ecb", "cbc", "xts", "ctr"}},
	{"ivgen-alg", []string{"plain", "plain64", "essiv"}},
	{"ivgen-hash-alg", hashes},
	{"hash-alg", hashes},
}

var hashes = []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"}

// What a new volume costs to unlock: QEMU measures how many iterations the
// machine makes in iter-time; here it is a number for each millisecond, so that
// a volume does not depend on what else the machine does.
const (
	iterationsPerMillisecond = 500
	minIterations            = 1000
	defaultTime              = 2000 // milliseconds
)

// ParseOptions reads the options of a new volume, whose names begin with prefix.
// Errors have qemu-img's texts, in its order; a *disk.UnsupportedError is about
// what is sound and not written here.
func ParseOptions(values map[string]string, prefix string) (*Options, error) {
	for _, o := range optionValues {
		if v, ok := values[prefix+o.name]; ok && !slices.Contains(o.values, v) {
			return nil, fmt.Errorf("Parameter '%s' does not accept value '%s'", o.name, v)
		}
	}
	get := func(name, otherwise string) string {
		if v, ok := values[prefix+name]; ok {
			return v
		}
		return otherwise
	}
	o := &Options{hash: get("hash-alg", "sha256")}
	algorithm, bits, _ := strings.Cut(get("cipher-alg", "aes-256"), "-")
	mode, generator := get("cipher-mode", "xts"), get("ivgen-alg", "plain64")
	if generator == "essiv" {
		generator += ":" + get("ivgen-hash-alg", "sha256")
	}
	o.cipher = algorithm + "-" + mode + "-" + generator
	n, _ := strconv.Atoi(bits)
	if o.keySize = n / 8; mode == "xts" {
		o.keySize *= 2
	}
	ms := uint64(defaultTime)
	if v, ok := values[prefix+"iter-time"]; ok {
		var err error
		if ms, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, fmt.Errorf("Parameter '%siter-time' expects a number", prefix)
		}
	}
	o.iterations = int64(min(max(min(ms, math.MaxInt32)*iterationsPerMillisecond, minIterations), maxIterations))
	if ms == 0 {
		o.iterations = defaultTime * iterationsPerMillisecond
	}
	if _, err := hashByName(o.hash); err != nil {
		return nil, err
	}
	if algorithm != "aes" {
		return nil, disk.Unsupportedf(formatName, "Algorithm '%s' not supported", get("cipher-alg", ""))
	}
	if _, err := newCipher(o.cipher, make([]byte, o.keySize)); err != nil {
		return nil, err
	}
	return o, nil
}

// Known returns the names of the options that [ParseOptions] reads.
func Known() []string {
	names := []string{"key-secret", "iter-time"}
	for _, o := range optionValues {
		names = append(names, o.name)
	}
	return names
}

const (
	stripes  = 4000
	slotUnit = 4096 // that keyslots are aligned to
	saltSize = 32
)

// slotSize returns the length in bytes of a keyslot's area.
func (o *Options) slotSize() int64 {
	return (int64(o.keySize)*stripes + slotUnit - 1) / slotUnit * slotUnit
}

// Size returns the length in bytes of the header with all keyslots, behind which
// the content is.
func (o *Options) Size() int64 { return slotUnit + v1Slots*o.slotSize() }

// Create returns the header of a new volume of version 1, Size bytes long, with
// one keyslot for the passphrase, and what encrypts its content. The error is
// ErrNoPassphrase where there is no passphrase.
//
// The volume key is derived from the seed and the passphrase: where the seed is
// known, so that equal input gives equal output, guessing the key is as hard as
// guessing the passphrase.
func (o *Options) Create(passphrase []byte, w disk.WriterOptions) ([]byte, *Volume, error) {
	if passphrase == nil {
		return nil, nil, ErrNoPassphrase
	}
	if len(passphrase) == 0 {
		return nil, nil, errors.New("Passphrase must not be empty")
	}
	hash, err := hashByName(o.hash)
	if err != nil {
		return nil, nil, err
	}
	derive := func(password []byte, salt string, iterations int64, size int) ([]byte, []byte) {
		s := w.Derive(salt)
		key, e := pbkdf2.Key(hash, string(password), s[:], int(iterations), size)
		err = errors.Join(err, e)
		return key, s[:saltSize]
	}
	key, _ := derive(passphrase, "luks volume key", o.iterations, o.keySize)
	defer clear(key)
	slotKey, slotSalt := derive(passphrase, "luks keyslot salt", o.iterations, o.keySize)
	defer clear(slotKey)
	digestIterations := max(o.iterations/8, minIterations)
	sum, digestSalt := derive(key, "luks digest salt", digestIterations, v1DigestLen)
	if err != nil {
		return nil, nil, err
	}
	p := make([]byte, o.Size())
	if err := o.fillSlot(p[slotUnit:][:o.slotSize()], key, slotKey, w.Derive("luks stripes")); err != nil {
		return nil, nil, err
	}
	be := binary.BigEndian
	algorithm, mode, _ := strings.Cut(o.cipher, "-")
	copy(p, Magic)
	be.PutUint16(p[6:], 1)
	copy(p[8:40], algorithm)
	copy(p[40:72], mode)
	copy(p[72:104], o.hash)
	be.PutUint32(p[104:], uint32(o.Size()/disk.SectorSize))
	be.PutUint32(p[108:], uint32(o.keySize))
	copy(p[112:], sum)
	copy(p[132:], digestSalt)
	be.PutUint32(p[164:], uint32(digestIterations))
	copy(p[168:208], uuid(w.UUID("luks")))
	for i := range int64(v1Slots) {
		s := p[v1SlotsAt+i*v1SlotSize:][:v1SlotSize]
		be.PutUint32(s, v1Inactive)
		be.PutUint32(s[40:], uint32((slotUnit+i*o.slotSize())/disk.SectorSize))
		be.PutUint32(s[44:], stripes)
	}
	s := p[v1SlotsAt:]
	be.PutUint32(s, v1Active)
	be.PutUint32(s[4:], uint32(o.iterations))
	copy(s[8:40], slotSalt)
	c, err := newCipher(o.cipher, key)
	if err != nil {
		return nil, nil, err
	}
	return p, &Volume{cipher: c, sector: disk.SectorSize}, nil
}

// fillSlot splits the volume key into stripes (LUKS1 specification, 2.4) and
// encrypts them.
func (o *Options) fillSlot(area, key, slotKey []byte, seed [32]byte) error {
	c, err := newCipher(o.cipher, slotKey)
	if err != nil {
		return err
	}
	hash, err := hashByName(o.hash)
	if err != nil {
		return err
	}
	random, err := chacha20.NewUnauthenticatedCipher(seed[:], make([]byte, chacha20.NonceSize))
	if err != nil {
		return err
	}
	material := area[:o.keySize*stripes]
	random.XORKeyStream(material, material)
	last := material[o.keySize*(stripes-1):]
	sum := make([]byte, o.keySize)
	defer clear(sum)
	for i := range stripes - 1 {
		for k, b := range material[i*o.keySize:][:o.keySize] {
			sum[k] ^= b
		}
		diffuse(sum, hash())
	}
	for k := range last {
		last[k] = sum[k] ^ key[k]
	}
	for i := 0; i < len(material); i += disk.SectorSize {
		c.encrypt(area[i:][:disk.SectorSize], uint64(i/disk.SectorSize))
	}
	return nil
}

func uuid(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// Encrypt encrypts p, whole encryption sectors of which the first is at pos; it
// is what Read undoes.
func (v *Volume) Encrypt(p []byte, pos int64) {
	iv := v.firstIV + uint64(pos/disk.SectorSize)
	for ; len(p) > 0; p = p[v.sector:] {
		v.cipher.encrypt(p[:v.sector], iv)
		iv += uint64(v.sector / disk.SectorSize)
	}
}
