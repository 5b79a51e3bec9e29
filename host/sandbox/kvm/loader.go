//go:build linux && amd64

package kvm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
)

// The reasons why an executable cannot be the guest.
var (
	errNotELF  = errors.New("not an ELF executable for x86-64")
	errDynamic = errors.New("the program is dynamically linked: build it with CGO_ENABLED=0")
	errPIE     = errors.New("the program is position-independent: build it without -buildmode=pie")
)

// openProgram reads the headers of an executable and says whether it can be
// the guest.
func openProgram(r io.ReaderAt) (*elf.File, error) {
	f, err := elf.NewFile(r)
	if err != nil || f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return nil, errNotELF
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, errDynamic
		}
	}
	if f.Type != elf.ET_EXEC {
		return nil, errPIE
	}
	return f, nil
}

// load maps the program's segments into the guest: what is only read or
// executed straight from the file, the rest as a copy.
func (s *space) load(f *elf.File) error {
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Memsz == 0 {
			continue
		}
		if err := s.loadSegment(p); err != nil {
			return fmt.Errorf("load the segment at %#x: %w", p.Vaddr, err)
		}
	}
	return nil
}

func (s *space) loadSegment(p *elf.Prog) error {
	start := roundDown(p.Vaddr, pageSize)
	v := interval{start, roundUp(p.Vaddr+p.Memsz, pageSize)}
	if p.Memsz > maxImage || p.Filesz > p.Memsz || p.Off%pageSize != p.Vaddr%pageSize {
		return errors.New("not laid out in pages")
	}
	if !s.mappable(v) {
		return errors.New("out of order, or out of bounds")
	}
	s.floor = v.end
	if p.Flags&elf.PF_W != 0 {
		return s.loadData(p, v)
	}
	if p.Filesz != p.Memsz {
		return errors.New("more memory than file, yet not writable")
	}
	flags := uint64(pteUser)
	if p.Flags&elf.PF_X == 0 {
		flags |= pteNoExec
	}
	offset := roundDown(p.Off, pageSize)
	for page := v.start; page < v.end; page += pageSize {
		if s.memory.at(imagePhysical+offset, pageSize) == nil {
			return io.ErrUnexpectedEOF
		}
		if err := s.mapShared(page, imagePhysical+offset, flags); err != nil {
			return err
		}
		offset += pageSize
	}
	return nil
}

func (s *space) loadData(p *elf.Prog, v interval) error {
	if p.Flags&elf.PF_X != 0 {
		return errors.New("both writable and executable")
	}
	if errno := s.populate(v); errno != 0 {
		return errno
	}
	data := s.memory.at(imagePhysical+p.Off, p.Filesz)
	if data == nil {
		return io.ErrUnexpectedEOF
	}
	return s.put(p.Vaddr, data)
}

// put is copyOut for what the VMM itself lays down before the guest runs.
func (s *space) put(address uint64, p []byte) error {
	if errno := s.copyOut(address, p); errno != 0 {
		return errno
	}
	return nil
}
