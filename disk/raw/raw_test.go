package raw_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/raw"
)

func TestConformance(t *testing.T) {
	content := make([]byte, 300<<10)
	for i := range content {
		content[i] = byte(i>>8) ^ byte(i)
	}
	for _, tc := range []struct {
		name  string
		image []byte
	}{
		{"empty", nil},
		{"one byte", content[7:8]},
		{"whole sectors", content},
		{"partial sector", content[:99999]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			padded := bytes.Clone(tc.image)
			for len(padded)%disk.SectorSize != 0 {
				padded = append(padded, 0)
			}
			disktest.Run(t, disktest.Config{Format: raw.Format, Image: tc.image, Want: padded, Headless: true})
		})
	}
}

// A sparse file knows its runs of data, as [start, end).
type sparse struct {
	disk.File
	runs [][2]int64
	err  error
}

func (s sparse) DataRun(off int64) (start, end int64, err error) {
	if s.err != nil {
		return 0, 0, s.err
	}
	for _, r := range s.runs {
		if off < r[1] {
			return max(off, r[0]), r[1], nil
		}
	}
	return 0, 0, io.EOF
}

func TestHolesAreZeroRuns(t *testing.T) {
	file := sparse{File: disktest.File(make([]byte, 10000)), runs: [][2]int64{{0, 1000}, {4096, 8192}}}
	img, err := raw.Format.Open(file, disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		off, limit int64
		want       disk.Extent
	}{
		{0, 1 << 40, disk.Extent{Start: 0, Length: 1024, Kind: disk.Data, File: file, Offset: 0}}, // up to the end of a sector
		{1, 10, disk.Extent{Start: 1, Length: 10, Kind: disk.Data, File: file, Offset: 1}},
		{1000, 1 << 40, disk.Extent{Start: 1000, Length: 3096, Kind: disk.Zero, File: file, Offset: 1000}},
		{2000, 100, disk.Extent{Start: 2000, Length: 100, Kind: disk.Zero, File: file, Offset: 2000}},
		{5000, 1 << 40, disk.Extent{Start: 5000, Length: 3192, Kind: disk.Data, File: file, Offset: 5000}},
		{8192, 1 << 40, disk.Extent{Start: 8192, Length: 10240 - 8192, Kind: disk.Zero, File: file, Offset: 8192}},
		{10239, 1 << 40, disk.Extent{Start: 10239, Length: 1, Kind: disk.Zero, File: file, Offset: 10239}},
	} {
		got, err := img.Extent(tc.off, tc.limit)
		if err != nil {
			t.Fatal(err)
		}
		same := cmp.Comparer(func(a, b disk.File) bool { return (a == nil) == (b == nil) })
		if diff := cmp.Diff(tc.want, got, same); diff != "" {
			t.Errorf("Extent(%d, %d) (-want +got):\n%s", tc.off, tc.limit, diff)
		}
	}
}

func TestErrorsOfTheFileAreReported(t *testing.T) {
	broken := errors.New("broken disk")
	img, err := raw.Format.Open(sparse{File: disktest.File(make([]byte, 512)), err: broken}, disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.Extent(0, 1); !errors.Is(err, broken) {
		t.Errorf("Extent: %v; want %v", err, broken)
	}
	img, err = raw.Format.Open(disk.NewFile(failing{broken}, 512), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.ReadAt(make([]byte, 1), 0); !errors.Is(err, broken) {
		t.Errorf("ReadAt: %v; want %v", err, broken)
	}
	if _, err := raw.Format.Open(sized{err: broken}, disk.OpenOptions{}); !errors.Is(err, broken) {
		t.Errorf("Open: %v; want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// A sized file has a length, or none, and nothing to read.
type sized struct {
	failing
	size int64
	err  error
}

func (f sized) Size() (int64, error) { return f.size, f.err }

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		file, want int64
		ok         bool
	}{
		{0, 0, true},
		{1, 512, true},
		{511, 512, true},
		{512, 512, true},
		{513, 1024, true},
		{1 << 60, 1 << 60, true},
		{math.MaxInt64 - 511, math.MaxInt64 - 511, true},
		{math.MaxInt64 - 510, 0, false},
		{math.MaxInt64, 0, false},
		{-1, 0, false},
	} {
		img, err := raw.Format.Open(sized{size: tc.file}, disk.OpenOptions{})
		if !tc.ok {
			var format *disk.FormatError
			if !errors.As(err, &format) {
				t.Errorf("file of %d bytes: %v; want a FormatError", tc.file, err)
			}
			continue
		}
		if err != nil || img.Size() != tc.want {
			t.Errorf("file of %d bytes: %v, %v; want size %d", tc.file, img, err, tc.want)
		}
	}
}

func TestSnapshotsAreRefused(t *testing.T) {
	var unsupported *disk.UnsupportedError
	if _, err := raw.Format.Open(disktest.File(nil), disk.OpenOptions{Snapshot: "1"}); !errors.As(err, &unsupported) {
		t.Errorf("error %v; want an UnsupportedError", err)
	}
}

// A target records what is done to it.
type target struct {
	disk.Target
	calls []call
	err   error
}

type call struct {
	name   string
	off, n int64
}

func (t *target) Truncate(n int64) error {
	t.calls = append(t.calls, call{name: "truncate", n: n})
	return t.err
}

func (t *target) Zero(off, n int64) error {
	t.calls = append(t.calls, call{"zero", off, n})
	return t.err
}

// A puncher is a target that can give space up, unless err is set.
type puncher struct {
	target
	err error
}

func (p *puncher) Punch(off, n int64) error {
	p.calls = append(p.calls, call{"punch", off, n})
	return p.err
}

// TestZeroGivesSpaceUp writes zeros into a file that is there.
func TestZeroGivesSpaceUp(t *testing.T) {
	punch, zero := call{"punch", 4096, 8192}, call{"zero", 4096, 8192}
	for _, tc := range []struct {
		options disk.WriterOptions
		err     error // of giving space up
		want    []call
	}{
		{disk.WriterOptions{Existing: true}, nil, []call{punch}},
		{disk.WriterOptions{Existing: true}, errors.ErrUnsupported, []call{punch, zero}},
		{disk.WriterOptions{Existing: true, Dense: true}, nil, []call{zero}},
		{disk.WriterOptions{Existing: true, Zeroed: true}, nil, nil},
	} {
		out := puncher{err: tc.err}
		w, err := raw.Format.Create(&out, 1<<20, tc.options)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Zero(4096, 8192); err != nil {
			t.Error(err)
		}
		if !slices.Equal(out.calls, tc.want) {
			t.Errorf("%+v: %v, want %v", tc.options, out.calls, tc.want)
		}
	}
	failure := errors.New("no")
	w, err := raw.Format.Create(&puncher{err: failure}, 1<<20, disk.WriterOptions{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Zero(0, 4096); !errors.Is(err, failure) {
		t.Errorf("Zero: %v, want %v", err, failure)
	}
}

func TestWriter(t *testing.T) {
	for _, tc := range []struct {
		options disk.WriterOptions
		want    []call
	}{
		{disk.WriterOptions{Zeroed: true}, []call{{"truncate", 0, 10 << 20}}},
		{disk.WriterOptions{}, []call{{"truncate", 0, 10 << 20}, {"zero", 1 << 20, 9 << 20}}},
		{disk.WriterOptions{Dense: true, Zeroed: true}, []call{{"truncate", 0, 10 << 20}, {"zero", 1 << 20, 9 << 20}}},
		{disk.WriterOptions{Existing: true, Zeroed: true}, nil},
		{disk.WriterOptions{Existing: true}, []call{{"zero", 1 << 20, 9 << 20}}},
	} {
		var out target
		w, err := raw.Format.Create(&out, 10<<20, tc.options)
		if err != nil {
			t.Fatal(err)
		}
		if at, n, err := w.Place(0, 1<<20); at != 0 || n != 1<<20 || err != nil {
			t.Errorf("Place(0) = %d, %d, %v", at, n, err)
		}
		if at, n, err := w.Place(5<<20, 4096); at != 5<<20 || n != 4096 || err != nil {
			t.Errorf("Place(5 MiB) = %d, %d, %v", at, n, err)
		}
		if err := w.Zero(1<<20, 9<<20); err != nil {
			t.Error(err)
		}
		if err := w.Finish(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(tc.want, out.calls, cmp.AllowUnexported(call{})); diff != "" {
			t.Errorf("%+v: calls (-want +got):\n%s", tc.options, diff)
		}
		if w.Unit()%disk.SectorSize != 0 {
			t.Errorf("Unit = %d", w.Unit())
		}
	}
}

func TestWriterPassesErrorsOn(t *testing.T) {
	full := errors.New("disk full")
	if _, err := raw.Format.Create(&target{err: full}, 512, disk.WriterOptions{}); !errors.Is(err, full) {
		t.Errorf("Create: %v; want %v", err, full)
	}
	out := target{}
	w, err := raw.Format.Create(&out, 512, disk.WriterOptions{Dense: true})
	if err != nil {
		t.Fatal(err)
	}
	out.err = errors.ErrUnsupported
	if err := w.Zero(0, 512); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Zero: %v; want %v, so that zeros are written", err, errors.ErrUnsupported)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	_, err := raw.Format.Create(&target{}, 512, disk.WriterOptions{Values: map[string]string{"cluster_size": "4k"}})
	if err == nil || err.Error() != "Invalid parameter 'cluster_size'" {
		t.Errorf("error %v", err)
	}
}
