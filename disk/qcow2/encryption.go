package qcow2

import (
	"encoding/binary"
	"errors"

	"instar/disk"
	"instar/disk/internal/luks"
)

// Encryption methods.
const (
	cryptNone = 0
	cryptAES  = 1 // AES-128-CBC with the passphrase itself as the key
	cryptLUKS = 2 // a LUKS header in the image, and clusters encrypted with its key
)

// cryptExtensionSize is the size in bytes of the header extension that says
// where the LUKS header is.
const cryptExtensionSize = 16

// A cipher decrypts stored clusters.
type cipher struct {
	*luks.Volume
	byGuest bool  // sectors are numbered as on the virtual disk, not as in the file
	header  int64 // length of the LUKS header, bytes
}

// readCryptExtension reads where the LUKS header is.
func (h *header) readCryptExtension(data []byte) error {
	if h.cryptMethod != cryptLUKS {
		return disk.Corruptf(formatName, "CRYPTO header extension only expected with LUKS encryption method")
	}
	if len(data) != cryptExtensionSize {
		return disk.Corruptf(formatName, "CRYPTO header extension size %d, but expected size %d", len(data), cryptExtensionSize)
	}
	h.cryptOffset, h.cryptLength = binary.BigEndian.Uint64(data), binary.BigEndian.Uint64(data[8:])
	if h.cryptOffset%uint64(h.clusterSize) != 0 || h.cryptOffset >= 1<<63 {
		return disk.Corruptf(formatName, "Encryption header offset '%d' is not a multiple of cluster size '%d'", h.cryptOffset, h.clusterSize)
	}
	return nil
}

// decrypt returns the cipher of an encrypted image, and what its header says.
// The cipher is nil without the passphrase, and where it is not supported.
func (i *image) decrypt(passphrase []byte) (*cipher, []disk.Detail, error) {
	switch {
	case i.cryptMethod == cryptAES:
		c, err := aesCipher(passphrase)
		return c, []disk.Detail{{Key: "format", Value: "aes"}}, err
	case i.cryptMethod == cryptLUKS && i.cryptOffset == 0:
		return nil, nil, disk.Corruptf(formatName, "Missing CRYPTO header for crypt method %d", i.cryptMethod)
	case i.cryptMethod == cryptLUKS:
		return i.luksCipher(passphrase)
	}
	return nil, nil, nil
}

func aesCipher(passphrase []byte) (*cipher, error) {
	if passphrase == nil {
		return nil, nil
	}
	v, err := luks.NewAES(passphrase)
	return &cipher{Volume: v, byGuest: true}, err
}

func (i *image) luksCipher(passphrase []byte) (*cipher, []disk.Detail, error) {
	h, err := luks.ReadHeader(i.file, int64(i.cryptOffset))
	if err != nil {
		return nil, nil, err
	}
	details := luksDetails(h)
	v, err := h.Unlock(i.file, int64(i.cryptOffset), passphrase)
	var unsupported *disk.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		i.noCipher = err
		return nil, details, nil
	case errors.Is(err, luks.ErrNoPassphrase):
		return nil, details, nil
	case errors.Is(err, luks.ErrWrongPassphrase):
		err = &disk.PassphraseError{Format: formatName, Msg: err.Error()}
	}
	return &cipher{Volume: v, header: h.Payload}, details, err
}

// luksDetails is what the header says, with the format's name where
// qemu-img info has it.
func luksDetails(h *luks.Header) []disk.Detail {
	var list []disk.Detail
	for _, d := range h.Details() {
		list = append(list, d)
		if d.Key == "uuid" {
			list = append(list, disk.Detail{Key: "format", Value: "luks"})
		}
	}
	return list
}

// readStored fills p with the content at off of the disk, which is stored at
// host of the data file.
func (i *image) readStored(p []byte, off, host int64) error {
	switch {
	case i.cipher == nil:
		return disk.ReadStored(i.data, p, host)
	case i.cipher.byGuest:
		return i.cipher.Read(i.data, p, host, off)
	default:
		return i.cipher.Read(i.data, p, host, host)
	}
}
