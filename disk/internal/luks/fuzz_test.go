package luks

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"

	"instar/disk/disktest"
)

const secret = "open sesame"

// small returns volumes of both versions with one cheap keyslot of two stripes,
// which secret opens, and a sector of content that has plain in it.
func small(tb testing.TB, plain []byte) (v1, v2 []byte) {
	tb.Helper()
	const name, area = "aes-xts-plain64", 32 << 10
	key, salt := bytes.Repeat([]byte{7, 9}, 16), bytes.Repeat([]byte{5}, saltSize)
	derive := func(password []byte, n, size int) []byte {
		p, err := pbkdf2.Key(sha256.New, string(password), salt, n, size)
		if err != nil {
			tb.Fatal(err)
		}
		return p
	}
	cipher := func(key []byte) sectorCipher {
		c, err := newCipher(name, key)
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	material := make([]byte, 512)
	diffuse(material[32:64], sha256.New())
	first := bytes.Clone(material[:32]) // zeros, whose diffusion hides the key
	diffuse(first, sha256.New())
	for k := range key {
		material[32+k] = first[k] ^ key[k]
	}
	cipher(derive([]byte(secret), 1000, 32)).encrypt(material, 0)
	sum := derive(key, 1000, v1DigestLen)
	content := make([]byte, 512)
	copy(content, plain)
	cipher(key).encrypt(content, 0)

	be := binary.BigEndian
	v1 = make([]byte, area)
	copy(v1, Magic)
	be.PutUint16(v1[6:], 1)
	copy(v1[8:], "aes")
	copy(v1[40:], "xts-plain64")
	copy(v1[72:], "sha256")
	be.PutUint32(v1[104:], area/512+1)
	be.PutUint32(v1[108:], 32)
	copy(v1[112:], sum)
	copy(v1[132:], salt)
	be.PutUint32(v1[164:], 1000)
	for k := range v1Slots {
		be.PutUint32(v1[v1SlotsAt+k*v1SlotSize:], v1Inactive)
	}
	s := v1[v1SlotsAt:]
	be.PutUint32(s, v1Active)
	be.PutUint32(s[4:], 1000)
	copy(s[8:], salt)
	be.PutUint32(s[40:], area/512)
	be.PutUint32(s[44:], 2)
	v1 = append(append(v1, material...), content...)

	code := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`{"keyslots":{"0":{"type":"luks2","key_size":32,"af":{"type":"luks1","stripes":2,"hash":"sha256"},`+
		`"area":{"type":"raw","offset":"%d","size":"512","encryption":"%s","key_size":32},`+
		`"kdf":{"type":"pbkdf2","hash":"sha256","iterations":1000,"salt":"%s"}}},"tokens":{},`+
		`"segments":{"0":{"type":"crypt","offset":"%d","size":"dynamic","iv_tweak":"0","encryption":"%s","sector_size":512}},`+
		`"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"%s","digest":"%s"}},`+
		`"config":{}}`, area, name, code(salt), area+512, name, code(salt), code(sum))
	return v1, append(append(sealed(area, []byte(text)), material...), content...)
}

// sealed returns a version 2 header of a length with a description of the
// volume, and the checksum that fits.
func sealed(size int, text []byte) []byte {
	p := make([]byte, size)
	copy(p, Magic)
	binary.BigEndian.PutUint16(p[6:], 2)
	binary.BigEndian.PutUint64(p[8:], 16<<10)
	copy(p[72:], "sha256")
	copy(p[v2Binary:16<<10], text)
	sum := sha256.Sum256(p[:16<<10])
	copy(p[448:], sum[:])
	return p
}

// TestSmall: what the fuzz targets begin with are volumes.
func TestSmall(t *testing.T) {
	v1, v2 := small(t, []byte("hello"))
	for version, p := range map[int][]byte{1: v1, 2: v2} {
		r := disktest.File(p)
		h, err := ReadHeader(r, 0)
		if err != nil || h.Version != version {
			t.Fatalf("version %d: %v", version, err)
		}
		if _, err := h.Unlock(r, 0, []byte("open barley")); err != ErrWrongPassphrase {
			t.Errorf("version %d, a wrong passphrase: %v", version, err)
		}
		v, err := h.Unlock(r, 0, []byte(secret))
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		got := make([]byte, 5)
		if err := v.Read(r, got, h.Payload, 0); err != nil || string(got) != "hello" {
			t.Errorf("version %d: %q, %v", version, got, err)
		}
	}
}

// cheap reports that unlocking takes no more than some milliseconds: what it
// may cost is tested where it is checked.
func (h *Header) cheap() bool {
	for _, s := range h.slots {
		if s.kdf.iterations > 4096 || s.kdf.memory > 256 || s.kdf.passes > 4 {
			return false
		}
	}
	return h.digest.iterations <= 4096 && len(h.slots) <= 8
}

// unlock reads a header, which has to be within its limits, and content behind
// it if a passphrase opens it.
func unlock(t *testing.T, image []byte) {
	r := disktest.File(image)
	h, err := ReadHeader(r, 0)
	if err != nil {
		return
	}
	if h.Payload < 0 || h.Length < 0 || h.keySize < 1 || h.keySize > maxKey || len(h.slots) > maxKeyslots ||
		h.digest.iterations < 1 || h.digest.iterations > maxIterations {
		t.Fatalf("%+v went through", h)
	}
	for _, s := range h.slots {
		if s.stripes < 1 || s.stripes > maxStripes || s.area < 0 || s.kdf.memory > maxMemory || s.kdf.iterations > maxIterations {
			t.Fatalf("keyslot %+v went through", s)
		}
	}
	_ = h.Details()
	if !h.cheap() {
		return
	}
	v, err := h.Unlock(r, 0, []byte(secret))
	if err != nil {
		return
	}
	_ = v.Read(r, make([]byte, 5000), h.Payload, 0)
	_ = v.Read(r, make([]byte, 700), h.Payload+100, 100)
}

// FuzzUnlock takes any bytes for a volume.
func FuzzUnlock(f *testing.F) {
	v1, v2 := small(f, nil)
	f.Add(v1)
	f.Add(v2)
	f.Fuzz(func(t *testing.T, image []byte) { unlock(t, image) })
}

// FuzzMetadata takes any bytes for the description of a version 2 volume, under
// a checksum that fits.
func FuzzMetadata(f *testing.F) {
	_, v2 := small(f, nil)
	text, _, _ := bytes.Cut(v2[v2Binary:], []byte{0})
	f.Add(text)
	f.Add(bytes.Replace(text, []byte(`"pbkdf2","hash":"sha256","iterations":1000`), []byte(`"argon2id","time":1,"memory":32,"cpus":1`), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		unlock(t, append(sealed(32<<10, text), v2[32<<10:]...))
	})
}
