//go:build linux && amd64

package kvm

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Names and hashes of the one symbol and its version: the hash is that of the
// System V ABI, chapter "Hash Table".
const (
	clockSymbol  = "__vdso_clock_gettime"
	clockVersion = "LINUX_2.6"
	versionHash  = 0x3ae75f6
	versionIndex = 2
)

// vdsoImage returns a shared object with the clock's code in it, as a program
// looks for one at AT_SYSINFO_EHDR: the smallest with a symbol, a hash table
// and a version.
func vdsoImage(clock []byte) []byte {
	strings := "\x00" + clockSymbol + "\x00" + clockVersion + "\x00"
	const (
		programs = 64
		dynamic  = programs + 2*56
		symbols  = dynamic + 7*16
		hash     = symbols + 2*24
		versions = hash + 6*4
		verdef   = versions + 4
		text     = verdef + 28
	)
	stringTable := uint64(text + len(clock))
	size := stringTable + uint64(len(strings))

	header := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1,
		Phoff: programs, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	copy(header.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	load := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: size, Memsz: size, Align: pageSize}
	dyn := elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R), Off: dynamic, Vaddr: dynamic, Filesz: symbols - dynamic, Memsz: symbols - dynamic, Align: 8}
	symbol := elf.Sym64{
		Name: 1, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: 1,
		Value: text, Size: uint64(len(clock)),
	}

	var b bytes.Buffer
	put := func(v ...any) {
		for _, v := range v {
			// A bytes.Buffer takes everything of a fixed size.
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	put(header, load, dyn)
	put(
		elf.Dyn64{Tag: int64(elf.DT_HASH), Val: hash},
		elf.Dyn64{Tag: int64(elf.DT_STRTAB), Val: stringTable},
		elf.Dyn64{Tag: int64(elf.DT_SYMTAB), Val: symbols},
		elf.Dyn64{Tag: int64(elf.DT_STRSZ), Val: uint64(len(strings))},
		elf.Dyn64{Tag: int64(elf.DT_VERSYM), Val: versions},
		elf.Dyn64{Tag: int64(elf.DT_VERDEF), Val: verdef},
		elf.Dyn64{},
	)
	put(elf.Sym64{}, symbol)
	// One bucket, which begins with symbol 1, which ends its chain.
	put([]uint32{1, 2, 1, 0, 0, 0})
	put([]uint16{0, versionIndex})
	// One Verdef (version, flags, index, count, hash, aux, next) and its
	// Verdaux (name, next).
	put([]uint16{1, 0, versionIndex, 1}, []uint32{versionHash, 20, 0})
	put([]uint32{uint32(1 + len(clockSymbol) + 1), 0})
	put(clock, []byte(strings))
	return b.Bytes()
}
