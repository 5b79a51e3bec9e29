package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"instar/disk"
	"instar/disk/internal/luks"
)

const cryptPrefix = "encrypt."

// readEncryption reads which method is asked for, also by its old name.
func (o *createOptions) readEncryption(values map[string]string) error {
	legacy := false
	if err := readBool(values, "encryption", &legacy); err != nil {
		return err
	}
	method, given := values[cryptPrefix+"format"]
	if legacy && given {
		return errors.New("'encrypt.format' and its alias 'encryption' can't be used at the same time")
	}
	if o.encryption = method; legacy {
		o.encryption = "aes"
	}
	for name := range values {
		o.encrypted = o.encrypted || given || legacy || strings.HasPrefix(name, cryptPrefix)
	}
	return nil
}

// readCipher reads how content is encrypted.
func (o *createOptions) readCipher(values map[string]string) error {
	var err error
	_, given := values[cryptPrefix+"format"]
	switch {
	case !o.encrypted:
	case o.encryption == "" && !given:
		return errors.New("Parameter 'encrypt.format' is missing")
	case o.encryption == "luks":
		o.luks, err = luks.ParseOptions(values, cryptPrefix)
	case o.encryption != "aes":
		return fmt.Errorf("Parameter 'format' does not accept value '%s'", o.encryption)
	}
	return err
}

// An encrypter is a writer whose content is encrypted.
type encrypter struct {
	*writer
	*luks.Volume
}

// Encrypt numbers sectors as in the file with LUKS, and as on the disk with the
// legacy method.
func (e *encrypter) Encrypt(p []byte, off, at int64) {
	if e.encryption == "aes" {
		at = off
	}
	e.Volume.Encrypt(p, at)
}

// keys are what content is encrypted with, and the LUKS header that says so;
// there is none with the legacy method.
type keys struct {
	header []byte
	volume *luks.Volume
}

// newKeys returns the keys of a new image, those of o.Old if there is one; nil
// if it is not encrypted.
func (o *createOptions) newKeys(w disk.WriterOptions) (*keys, error) {
	old, _ := w.Old.(*image)
	switch {
	case !o.encrypted:
		return nil, nil
	case old != nil && old.cipher != nil && !old.cipher.byGuest:
		return old.cipher.keys(old)
	case w.Secret == nil:
		return nil, &disk.PassphraseError{Format: formatName, Msg: "Parameter 'encrypt.key-secret' is required for cipher"}
	case o.luks == nil:
		c, err := aesCipher(w.Secret)
		if err != nil {
			return nil, err
		}
		return &keys{volume: c.Volume}, nil
	}
	header, volume, err := o.luks.Create(w.Secret, w)
	return &keys{header, volume}, err
}

// maxKept bounds a LUKS header that is kept: twice the greatest that is made.
const maxKept = 8 << 20

// keys returns the keys of an image with all of its keyslots.
func (c *cipher) keys(i *image) (*keys, error) {
	if c.header > maxKept {
		return nil, disk.Unsupportedf(formatName, "a LUKS header of %d bytes is not kept", c.header)
	}
	k := &keys{make([]byte, c.header), c.Volume}
	return k, disk.ReadStored(i.file, k.header, int64(i.cryptOffset))
}

// encryptWith begins an encrypted image.
func (w *writer) encryptWith(k *keys) (disk.Writer, error) {
	e := &encrypter{w, k.volume}
	if k.header == nil {
		w.cryptMethod = cryptAES
		return e, nil
	}
	w.cryptMethod = cryptLUKS
	w.cryptLength = int64(len(k.header))
	n := w.clusters(w.cryptLength)
	at, err := w.alloc(n)
	if err != nil {
		return nil, err
	}
	w.cryptAt = at * w.clusterSize
	// All of the clusters are written, since a device may have had something there.
	return e, w.write(slices.Concat(k.header, make([]byte, n*w.clusterSize-w.cryptLength)), w.cryptAt)
}

// encodeCryptExtension returns the header extension that says where the LUKS
// header is.
func (w *writer) encodeCryptExtension() []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(w.cryptAt))
	return binary.BigEndian.AppendUint64(p, uint64(w.cryptLength))
}
