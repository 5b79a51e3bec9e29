package qcow2_test

import (
	"encoding/binary"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
)

// FuzzEncrypted takes any bytes for the LUKS header of an image, and for where
// the image says that it is. There is no passphrase: what one would do is
// fuzzed where it is tried.
func FuzzEncrypted(f *testing.F) {
	f.Add(uint64(6<<9), uint64(592), []byte("LUKS\xba\xbe\x00\x01aes"))
	f.Add(uint64(6<<9), uint64(1<<63), []byte("LUKS\xba\xbe\x00\x02"))
	f.Add(uint64(1<<64-512), uint64(1024), []byte{})
	f.Fuzz(func(t *testing.T, at, length uint64, header []byte) {
		b := builder{size: 64 << 10, bits: 9}.build()
		b.put32(atCrypt, 2)
		b.put32(atExtensions, 0x0537be77)
		b.put32(atExtensions+4, 16)
		b.put64(atExtensions+8, at)
		b.put64(atExtensions+16, length)
		table := b.add(make([]byte, 512))
		binary.BigEndian.PutUint64(b.image[b.l1:], uint64(table)|flagCopied)
		data := b.add(header)
		binary.BigEndian.PutUint64(b.image[table:], uint64(data)|flagCopied)
		disktest.Survive(t, qcow2.Format, b.image, disk.OpenOptions{})
	})
}
