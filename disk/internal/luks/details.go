package luks

import (
	"encoding/binary"
	"fmt"
	"strings"

	"instar/disk"
)

// Details returns what the header says, in the order and under the names in
// which qemu-img info lists it. QEMU knows version 1 only; version 2 is listed
// in the same manner.
func (h *Header) Details() []disk.Detail {
	algorithm, mode, _ := strings.Cut(h.Cipher, "-")
	mode, generator, _ := strings.Cut(mode, "-")
	generator, hash, salted := strings.Cut(generator, ":")
	bits := h.keySize * 8
	if mode == "xts" {
		bits /= 2
	}
	d := []disk.Detail{{Key: "ivgen-alg", Value: generator}}
	if salted {
		d = append(d, disk.Detail{Key: "ivgen-hash-alg", Value: hash})
	}
	d = append(d,
		disk.Detail{Key: "hash-alg", Value: h.digest.hash},
		disk.Detail{Key: "cipher-alg", Value: fmt.Sprintf("%s-%d", algorithm, bits)},
		disk.Detail{Key: "uuid", Value: h.UUID},
		disk.Detail{Key: "cipher-mode", Value: mode},
		disk.Detail{Key: "slots", Value: h.listed},
		disk.Detail{Key: "payload-offset", Value: h.Payload},
		disk.Detail{Key: "master-key-iters", Value: int64(h.digest.iterations)},
	)
	return d
}

// listSlot lists a keyslot of a version 1 header.
func listSlot(s []byte) []disk.Detail {
	be := binary.BigEndian
	active := be.Uint32(s) == v1Active
	offset := disk.Detail{Key: "key-offset", Value: int64(be.Uint32(s[40:])) * disk.SectorSize}
	if !active {
		return []disk.Detail{{Key: "active", Value: false}, offset}
	}
	return []disk.Detail{
		{Key: "active", Value: true},
		{Key: "iters", Value: int64(be.Uint32(s[4:]))},
		offset,
		{Key: "stripes", Value: int64(be.Uint32(s[44:]))},
	}
}

// list lists a keyslot of a version 2 header.
func (s *keyslot) list() []disk.Detail {
	d := []disk.Detail{{Key: "active", Value: true}, {Key: "kdf", Value: s.kdf.kind}}
	if s.kdf.kind == "pbkdf2" {
		d = append(d, disk.Detail{Key: "iters", Value: s.kdf.iterations})
	} else {
		d = append(d,
			disk.Detail{Key: "time", Value: s.kdf.passes},
			disk.Detail{Key: "memory", Value: s.kdf.memory << 10},
			disk.Detail{Key: "cpus", Value: s.kdf.lanes})
	}
	return append(d,
		disk.Detail{Key: "key-offset", Value: s.area},
		disk.Detail{Key: "stripes", Value: int64(s.stripes)})
}
