//go:build linux && amd64

package attack

import (
	"encoding/binary"
	"reflect"
	"unsafe"
)

// keep holds on to what addresses were taken of.
var keep [][]byte

func addressOf(b []byte) uintptr {
	keep = append(keep, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// programAddress returns the address of the page of the program's code that a
// function is on.
func programAddress() uintptr { return reflect.ValueOf(outcome).Pointer() &^ 4095 }

// iovecs returns two struct iovec for eight bytes each.
func iovecs(local, remote uintptr) []byte {
	var b []byte
	for _, address := range []uintptr{local, remote} {
		b = binary.LittleEndian.AppendUint64(b, uint64(address))
		b = binary.LittleEndian.AppendUint64(b, 8)
	}
	return b
}

// secretAddress returns where s is.
func secretAddress(s *uint64) uint64 { return uint64(uintptr(unsafe.Pointer(s))) }
