package luks

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"runtime/debug"
	"strings"

	"golang.org/x/crypto/argon2"
	//lint:ignore SA1019 old volumes name it
	"golang.org/x/crypto/ripemd160"
	"golang.org/x/crypto/xts"

	"instar/disk"
)

func hashByName(name string) (func() hash.Hash, error) {
	switch name {
	case "sha1":
		return sha1.New, nil
	case "sha224":
		return sha256.New224, nil
	case "sha256":
		return sha256.New, nil
	case "sha384":
		return sha512.New384, nil
	case "sha512":
		return sha512.New, nil
	case "ripemd160":
		return ripemd160.New, nil
	}
	return nil, disk.Unsupportedf(formatName, "LUKS hash %q is not supported", name)
}

func (d *digest) matches(key []byte) (bool, error) {
	h, err := hashByName(d.hash)
	if err != nil {
		return false, err
	}
	sum, err := pbkdf2.Key(h, string(key), d.salt, d.iterations, len(d.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, d.sum) == 1, err
}

// A kdf derives a key from a passphrase.
type kdf struct {
	kind       string // pbkdf2, argon2i or argon2id
	salt       []byte
	hash       string // pbkdf2
	iterations int64  // pbkdf2
	passes     int64  // argon2: time cost
	memory     int64  // argon2, KiB
	lanes      int64  // argon2
}

// Limits of Argon2: cryptsetup's own are 4 GiB and 4 lanes
// (LUKS2 specification, 3.2.2).
const (
	maxPasses = 512
	maxMemory = 4 << 20 // KiB
	maxLanes  = 16
)

func (k *kdf) check() error {
	switch k.kind {
	case "pbkdf2":
		if k.iterations < 1 || k.iterations > maxIterations {
			return disk.Corruptf(formatName, "LUKS key derivation of %d iterations", k.iterations)
		}
		if _, err := hashByName(k.hash); err != nil {
			return err
		}
	case "argon2i", "argon2id":
		if k.passes < 1 || k.passes > maxPasses || k.memory < 8 || k.memory > maxMemory || k.lanes < 1 || k.lanes > maxLanes {
			return disk.Corruptf(formatName, "LUKS key derivation with a time cost of %d, %d KiB of memory and %d lanes", k.passes, k.memory, k.lanes)
		}
	default:
		return disk.Unsupportedf(formatName, "LUKS key derivation %q is not supported", k.kind)
	}
	if len(k.salt) > maxSalt {
		return disk.Corruptf(formatName, "LUKS salt of %d bytes", len(k.salt))
	}
	return nil
}

// spare is the memory that is needed besides that of Argon2.
const spare = 64 << 20

// A MemoryError says that a key derivation needs more memory than there is.
type MemoryError struct {
	Need int64 // bytes that would do for the whole process
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("deriving the key needs more memory than the worker has: use --memory %dM", e.Need>>20)
}

func (k *kdf) derive(passphrase []byte, size int) ([]byte, error) {
	if k.kind == "pbkdf2" {
		h, err := hashByName(k.hash)
		if err != nil {
			return nil, err
		}
		return pbkdf2.Key(h, string(passphrase), k.salt, int(k.iterations), size)
	}
	// The limit of the heap is five eighths of the worker's memory. An image is
	// opened twice, to be looked at and to be read, and what the first time took
	// may not come free in one piece for the second.
	need := 2*k.memory<<10 + 2*spare
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 && need > limit/5*8 {
		return nil, &MemoryError{Need: need}
	}
	f := argon2.IDKey
	if k.kind == "argon2i" {
		f = argon2.Key
	}
	defer debug.FreeOSMemory()
	return f(passphrase, k.salt, uint32(k.passes), uint32(k.memory), uint8(k.lanes), uint32(size)), nil
}

// merge undoes the anti-forensic splitter: material is stripes pieces of size
// bytes (LUKS1 specification, 2.4).
func merge(material []byte, size, stripes int, name string) ([]byte, error) {
	h, err := hashByName(name)
	if err != nil {
		return nil, err
	}
	key := make([]byte, size)
	for i := range stripes {
		subtle.XORBytes(key, key, material[i*size:][:size])
		if i < stripes-1 {
			diffuse(key, h())
		}
	}
	return key, nil
}

func diffuse(key []byte, h hash.Hash) {
	for i, rest := uint32(0), key; len(rest) > 0; i++ {
		n := min(len(rest), h.Size())
		h.Reset()
		var number [4]byte
		binary.BigEndian.PutUint32(number[:], i)
		h.Write(number[:])
		h.Write(rest[:n])
		copy(rest, h.Sum(nil)[:n])
		rest = rest[n:]
	}
}

// A sectorCipher encrypts and decrypts one encryption sector, of which iv is the
// number.
type sectorCipher interface {
	encrypt(p []byte, iv uint64)
	decrypt(p []byte, iv uint64)
}

// newCipher returns the cipher that dm-crypt knows under that name.
func newCipher(name string, key []byte) (sectorCipher, error) {
	unsupported := disk.Unsupportedf(formatName, "LUKS cipher %q is not supported", name)
	algorithm, mode, ok := strings.Cut(name, "-")
	if !ok || algorithm != "aes" {
		return nil, unsupported
	}
	switch mode {
	case "xts-plain64", "xts-plain":
		c, err := xts.NewCipher(aes.NewCipher, key)
		if err != nil {
			return nil, unsupported
		}
		return xtsSectors{c, mode == "xts-plain"}, nil
	case "xts-essiv:sha256":
		salted, err := essiv(key)
		if err != nil {
			return nil, err
		}
		halves := 0
		c, err := xts.NewCipher(func(half []byte) (cipher.Block, error) {
			b, err := aes.NewCipher(half)
			if halves++; halves == 2 && err == nil {
				b = tweak{b, salted}
			}
			return b, err
		}, key)
		if err != nil {
			return nil, unsupported
		}
		return xtsSectors{c, false}, nil
	case "cbc-plain64", "cbc-plain", "cbc-essiv:sha256":
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, unsupported
		}
		c := &cbcSectors{block: b, short: mode == "cbc-plain"}
		if mode == "cbc-essiv:sha256" {
			if c.essiv, err = essiv(key); err != nil {
				return nil, err
			}
		}
		return c, nil
	}
	return nil, unsupported
}

// essiv returns what encrypts the numbers of sectors, by a key that is made of
// that of their content.
func essiv(key []byte) (cipher.Block, error) {
	salt := sha256.Sum256(key)
	return aes.NewCipher(salt[:])
}

// A tweak is the cipher of XTS that makes a tweak of the number of a sector,
// which is encrypted before.
type tweak struct {
	cipher.Block
	salted cipher.Block
}

func (t tweak) Encrypt(dst, src []byte) {
	t.salted.Encrypt(dst, src)
	t.Block.Encrypt(dst, dst)
}

type xtsSectors struct {
	*xts.Cipher
	short bool // the initialization vector has 32 bits
}

func (c xtsSectors) decrypt(p []byte, iv uint64) {
	if c.short {
		iv &= math.MaxUint32
	}
	c.Decrypt(p, p, iv)
}

func (c xtsSectors) encrypt(p []byte, iv uint64) {
	if c.short {
		iv &= math.MaxUint32
	}
	c.Encrypt(p, p, iv)
}

type cbcSectors struct {
	block, essiv cipher.Block
	short        bool
}

func (c *cbcSectors) decrypt(p []byte, iv uint64) {
	cipher.NewCBCDecrypter(c.block, c.vector(iv)).CryptBlocks(p, p)
}

func (c *cbcSectors) encrypt(p []byte, iv uint64) {
	cipher.NewCBCEncrypter(c.block, c.vector(iv)).CryptBlocks(p, p)
}

// vector returns the initialization vector of a sector.
func (c *cbcSectors) vector(iv uint64) []byte {
	if c.short {
		iv &= math.MaxUint32
	}
	v := make([]byte, aes.BlockSize)
	binary.LittleEndian.PutUint64(v, iv)
	if c.essiv != nil {
		c.essiv.Encrypt(v, v)
	}
	return v
}
