//go:build linux && amd64

package kvm

import "encoding/binary"

// Tags of the auxiliary vector: include/uapi/linux/auxvec.h.
const (
	atNull        = 0
	atPageSize    = 6
	atRandom      = 25
	atSysinfoEhdr = 33
)

// randomSize is the number of bytes that AT_RANDOM leads to.
const randomSize = 16

// initialStack returns what a program finds on its stack, as the System V ABI
// for AMD64 has it in section 3.4.1: the number of arguments, the arguments,
// the environment, the auxiliary vector, and behind them what they point to.
// The first byte comes to lie at the returned address, the last below top.
func initialStack(top uint64, args, env []string, vdso bool, random [randomSize]byte) (uint64, []byte) {
	var data []byte // behind the vectors
	words := 1 + len(args) + 1 + len(env) + 1 + 2*4
	size := roundUp(uint64(words)*8+dataSize(args, env), 16)
	start := top - size
	dataStart := start + uint64(words)*8

	vectors := make([]byte, 0, size)
	word := func(w ...uint64) {
		for _, w := range w {
			vectors = binary.LittleEndian.AppendUint64(vectors, w)
		}
	}
	text := func(list []string) {
		for _, s := range list {
			word(dataStart + uint64(len(data)))
			data = append(append(data, s...), 0)
		}
		word(0)
	}
	word(uint64(len(args)))
	text(args)
	text(env)
	word(atPageSize, pageSize)
	word(atRandom, dataStart+uint64(len(data)))
	data = append(data, random[:]...)
	if vdso {
		word(atSysinfoEhdr, vdsoAddress)
	} else {
		word(atSysinfoEhdr, 0)
	}
	word(atNull, 0)
	return start, append(vectors, data...)
}

func dataSize(args, env []string) uint64 {
	n := randomSize
	for _, list := range [][]string{args, env} {
		for _, s := range list {
			n += len(s) + 1
		}
	}
	return uint64(n)
}
