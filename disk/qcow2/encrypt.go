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

// newEncrypter begins an encrypted image.
func newEncrypter(w *writer, o disk.WriterOptions) (disk.Writer, error) {
	if o.Secret == nil {
		return nil, &disk.PassphraseError{Format: formatName, Msg: "Parameter 'encrypt.key-secret' is required for cipher"}
	}
	if w.luks == nil {
		c, err := aesCipher(o.Secret)
		if err != nil {
			return nil, err
		}
		w.cryptMethod = cryptAES
		return &encrypter{w, c.Volume}, nil
	}
	header, volume, err := w.luks.Create(o.Secret, o)
	if err != nil {
		return nil, err
	}
	w.cryptMethod = cryptLUKS
	w.cryptLength = int64(len(header))
	n := w.clusters(w.cryptLength)
	at, err := w.alloc(n)
	if err != nil {
		return nil, err
	}
	w.cryptAt = at * w.clusterSize
	// All of the clusters are written, since a device may have had something there.
	return &encrypter{w, volume}, w.write(slices.Concat(header, make([]byte, n*w.clusterSize-w.cryptLength)), w.cryptAt)
}

// encodeCryptExtension returns the header extension that says where the LUKS
// header is.
func (w *writer) encodeCryptExtension() []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(w.cryptAt))
	return binary.BigEndian.AppendUint64(p, uint64(w.cryptLength))
}
