package vmdk

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, values := range []map[string]string{nil, {"zeroed_grain": "on"}, {"adapter_type": "lsilogic", "compat6": "on"}} {
		disktest.RunWriter(t, disktest.WriterConfig{Format: Format, Values: values, NotEmpty: true})
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tc := range []struct {
		size   int64
		values map[string]string
		want   string
	}{
		{0, nil, "Unsupported image type 'monolithicSparse'"},
		{512, map[string]string{"backing_fmt": "raw", "adapter_type": "x"}, "backing_file must be a vmdk image"},
		{512, map[string]string{"adapter_type": "IDE", "compat6": "on", "hwversion": "4"}, "invalid parameter value: IDE"},
		{512, map[string]string{"compat6": "on", "hwversion": "4", "subformat": "x"}, "invalid parameter value: x"},
		{512, map[string]string{"compat6": "on", "hwversion": "4", "subformat": "monolithicFlat", "zeroed_grain": "on"}, "compat6 cannot be enabled with hwversion set"},
		{512, map[string]string{"subformat": "x"}, "invalid parameter value: x"},
		{512, map[string]string{"subformat": "monolithicFlat", "backing_file": "x", "zeroed_grain": "on"}, "Flat image can't have backing file"},
		{512, map[string]string{"subformat": "twoGbMaxExtentFlat", "zeroed_grain": "on"}, "Flat image can't enable zeroed grain"},
		{1<<50 + 512, nil, "L1 size too big"},
		{512, map[string]string{"toolsversion": strings.Repeat("9", embeddedLength)}, "the descriptor is too long"},
		{512, map[string]string{"backing_file": "x"}, "the backing file has to be opened for its CID"},
		{512, map[string]string{"backing_file": "a\"b"}, "a descriptor cannot have a parent of the name \"a\\\"b\""},
		{512, map[string]string{"subformat": "monolithicFlat"}, "the image consists of 1 extents, and there are 0 files for them"},
	} {
		target := disktest.NewTarget(nil)
		_, err := Format.Create(target, tc.size, disk.WriterOptions{Values: tc.values})
		if err == nil || err.Error() != tc.want {
			t.Errorf("%d bytes, %v: %v, want %s", tc.size, tc.values, err, tc.want)
		}
	}
	flat := disk.WriterOptions{Compress: true, Values: map[string]string{"subformat": "monolithicFlat"}}
	if _, err := Format.Create(disktest.NewTarget(nil), 512, flat); err == nil || err.Error() != "invalid cluster size" {
		t.Errorf("a compressed flat image: %v", err)
	}
}

// A descriptor says what its files are called, and nothing else.
func TestNamesOfFilesAreNoText(t *testing.T) {
	for _, name := range []string{"a\"b", "a\nRW 1 FLAT \"x\" 0", "a\x00b", strings.Repeat("a", maxExtentName+1)} {
		o := disk.WriterOptions{
			Values: map[string]string{"subformat": "monolithicFlat"},
			Files:  []disk.Target{disktest.NewTarget(nil)}, FileNames: []string{name},
		}
		if _, err := Format.Create(disktest.NewTarget(nil), 512, o); err == nil {
			t.Errorf("%q is the name of an extent", name)
		}
	}
	i := &newImage{size: 512, name: "a\"\nRW 1 FLAT \"x\" 0"}
	if text := i.descriptor(); !bytes.Contains(text, []byte("RW 1 SPARSE \"a__RW 1 FLAT _x_ 0\"\n")) {
		t.Errorf("%s", text)
	}
}

// Disks that consist of several files, of which the last is short, are read
// back. Content lies around where files meet.
func TestSplit(t *testing.T) {
	const size = 2*splitSize + 3*disk.SectorSize
	pieces := map[int64][]byte{}
	for _, off := range []int64{0, splitSize - grainSize, splitSize, 2*splitSize - grainSize, 2 * splitSize} {
		pieces[off] = bytes.Repeat([]byte{byte(len(pieces) + 1)}, int(min(grainSize, size-off)))
	}
	for _, subformat := range []string{splitSparse, splitFlat} {
		t.Run(subformat, func(t *testing.T) {
			o := disk.WriterOptions{Values: map[string]string{"subformat": subformat}}
			targets := make([]*sparseTarget, 3)
			for k := range targets {
				targets[k] = &sparseTarget{parts: map[int64][]byte{}}
				o.Files, o.FileNames = append(o.Files, targets[k]), append(o.FileNames, fmt.Sprintf("x%d", k))
			}
			descriptor := disktest.NewTarget(nil)
			w, err := Format.Create(descriptor, size, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, off := range []int64{0, splitSize - grainSize, 2*splitSize - grainSize} {
				end := min(off+2*grainSize, size)
				if off == 0 {
					end = grainSize
				}
				for off < end {
					at, n, err := w.Place(off, end-off)
					if err != nil {
						t.Fatal(err)
					}
					for n > 0 {
						p := pieces[off/grainSize*grainSize][off%grainSize:]
						p = p[:min(int64(len(p)), n)]
						if _, err := w.(disk.Spreader).Content().WriteAt(p, at); err != nil {
							t.Fatal(err)
						}
						off, at, n = off+int64(len(p)), at+int64(len(p)), n-int64(len(p))
					}
				}
			}
			if len(descriptor.Bytes()) > 0 {
				t.Error("there is a descriptor before everything else is there")
			}
			if err := w.Finish(); err != nil {
				t.Fatal(err)
			}
			var files []disk.File
			for _, f := range targets {
				files = append(files, f)
			}
			img, err := Format.Open(disktest.File(descriptor.Bytes()), disk.OpenOptions{Files: files})
			if err != nil {
				t.Fatal(err)
			}
			if img.Size() != size {
				t.Errorf("%d bytes, want %d", img.Size(), size)
			}
			for off, want := range pieces {
				got := make([]byte, len(want))
				if err := disk.ReadStored(img, got, off); err != nil || !bytes.Equal(got, want) {
					t.Errorf("at %d: %x, %v", off, got[:1], err)
				}
			}
		})
	}
}

// A sparseTarget is a file in memory with large holes.
type sparseTarget struct {
	parts map[int64][]byte // blocks of 4096 bytes, by offset
	size  int64
}

func (s *sparseTarget) WriteAt(p []byte, off int64) (int, error) {
	for k, b := range p {
		at := off + int64(k)
		block := s.parts[at&^4095]
		if block == nil {
			block = make([]byte, 4096)
			s.parts[at&^4095] = block
		}
		block[at&4095] = b
	}
	s.size = max(s.size, off+int64(len(p)))
	return len(p), nil
}

func (s *sparseTarget) ReadAt(p []byte, off int64) (int, error) {
	for k := range p {
		at := off + int64(k)
		p[k] = 0
		if block := s.parts[at&^4095]; block != nil {
			p[k] = block[at&4095]
		}
	}
	return len(p), nil
}

func (s *sparseTarget) Truncate(n int64) error { s.size = n; return nil }

func (s *sparseTarget) Size() (int64, error)                                   { return s.size, nil }
func (s *sparseTarget) Zero(_, _ int64) error                                  { return nil }
func (s *sparseTarget) Sync() error                                            { return nil }
func (s *sparseTarget) CopyFrom(disk.File, int64, int64, int64) (int64, error) { return 0, nil }
