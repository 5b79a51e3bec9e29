package luks

import "instar/disk"

// aesKeySize is the size in bytes of the key of NewAES.
const aesKeySize = 16

// NewAES returns what decrypts the images that QEMU encrypted before it had LUKS:
// by AES-128 in CBC mode, in sectors of 512 bytes that are numbered from position
// 0. The key is the passphrase itself, cut or filled with zeros.
func NewAES(passphrase []byte) (*Volume, error) {
	key := make([]byte, aesKeySize)
	defer clear(key)
	copy(key, passphrase)
	c, err := newCipher("aes-cbc-plain64", key)
	if err != nil {
		return nil, err
	}
	return &Volume{cipher: c, sector: disk.SectorSize}, nil
}
