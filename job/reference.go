package job

import (
	"bytes"
	"encoding/json"
)

// A Reference is another file that an image names (see disk.Reference). Names
// are bytes, as the names of files are, and need not be UTF-8.
type Reference struct {
	Kind     string
	Names    []string
	Format   string
	Identity string
}

// The kinds of reference; they equal disk's.
const (
	BackingFile = "backing file"
	DataFile    = "data file"
	ExtentFile  = "extent"
)

// wireReference is a Reference as JSON can carry it.
type wireReference struct {
	Kind     string   `json:"kind"`
	Names    [][]byte `json:"names"`
	Format   string   `json:"format,omitempty"`
	Identity string   `json:"identity,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r Reference) MarshalJSON() ([]byte, error) {
	w := wireReference{Kind: r.Kind, Format: r.Format, Identity: r.Identity}
	for _, name := range r.Names {
		w.Names = append(w.Names, []byte(name))
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler. Unknown fields are refused.
func (r *Reference) UnmarshalJSON(data []byte) error {
	var w wireReference
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return err
	}
	*r = Reference{Kind: w.Kind, Format: w.Format, Identity: w.Identity}
	for _, name := range w.Names {
		r.Names = append(r.Names, string(name))
	}
	return nil
}
