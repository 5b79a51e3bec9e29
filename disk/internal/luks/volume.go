package luks

import "instar/disk"

// NewVolume returns what decrypts content that was encrypted without a LUKS
// header, in sectors of 512 bytes that are numbered from position 0: cipher is
// the name that dm-crypt knows it by, as in "aes-cbc-plain64".
func NewVolume(cipher string, key []byte) (*Volume, error) {
	c, err := newCipher(cipher, key)
	if err != nil {
		return nil, err
	}
	return &Volume{cipher: c, sector: disk.SectorSize}, nil
}
