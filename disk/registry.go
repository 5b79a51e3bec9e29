package disk

import (
	"errors"
	"fmt"
	"io"
)

// A Registry is a set of formats. The zero value is empty.
type Registry struct{ formats []Format }

// NewRegistry returns a registry of the given formats. Where two score alike
// in Detect, the earlier wins.
func NewRegistry(formats ...Format) *Registry { return &Registry{formats: formats} }

// Lookup returns the format of that name, or an *UnknownFormatError. Names
// are case-sensitive.
func (r *Registry) Lookup(name string) (Format, error) {
	for _, f := range r.formats {
		if f.Name == name {
			return f, nil
		}
	}
	return Format{}, &UnknownFormatError{Name: name}
}

// Resembles returns the name of the format that a file ends like, and "" when
// there is none. Formats are not detected by it, as a raw disk's last bytes are
// whatever its user likes, but who reads such a file as raw may be in error.
func (r *Registry) Resembles(f File) (string, error) {
	format, err := r.endOf(f, func(Format) bool { return true })
	return format.Name, err
}

// endOf returns the first of the formats wanted that a file ends like; without
// a name if there is none.
func (r *Registry) endOf(f File, wanted func(Format) bool) (Format, error) {
	size, err := f.Size()
	if err != nil {
		return Format{}, fmt.Errorf("get the size of the file: %w", err)
	}
	tail := make([]byte, min(size, ProbeSize))
	if err := ReadStored(f, tail, size-int64(len(tail))); err != nil {
		return Format{}, err
	}
	for _, format := range r.formats {
		if format.ProbeEnd != nil && wanted(format) && format.ProbeEnd(tail) {
			return format, nil
		}
	}
	return Format{}, nil
}

// unsure is a score that a file has which nothing speaks for: that of raw.
const unsure = 1

// Detect returns the format that the first ProbeSize bytes of the file speak
// for most. Where they speak for none but raw, the file is of the format that
// it ends like and that has this suffix of its name, if there is one (see
// [Format]); suffix may be empty.
func (r *Registry) Detect(f File, suffix string) (Format, error) {
	head := make([]byte, ProbeSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Format{}, fmt.Errorf("Could not read image for determining its format: %w", err) //nolint:staticcheck // qemu's text
	}
	head = head[:max(n, SectorSize)] // as qemu, to which a file ends with a sector
	var best Format
	score := 0
	for _, format := range r.formats {
		if format.Probe == nil {
			continue
		}
		if s := format.Probe(head); s > score {
			best, score = format, s
		}
	}
	if score <= unsure && suffix != "" {
		named, err := r.endOf(f, func(f Format) bool { return f.Suffix == suffix })
		if err != nil || named.Name != "" {
			return named, err
		}
	}
	if score == 0 {
		return Format{}, errors.New("Could not determine image format: No compatible driver found")
	}
	return best, nil
}
