package convert

import (
	"io"

	"instar/disk"
)

// Salvage returns a disk that reads as zeros, sector by sector, where d cannot be
// read. warn is told of each such sector: where it is on d, in bytes, whether it
// was what d stores there that could not be told, and why. It may be told of a
// sector again when that is read again.
func Salvage(d disk.Disk, warn func(off int64, status bool, err error)) disk.Disk {
	return &salvaged{d, warn}
}

type salvaged struct {
	disk.Disk
	warn func(off int64, status bool, err error)
}

func (s *salvaged) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(s.Size(), p, off, func(p []byte, off int64) error {
		s.read(s.Disk, p, off)
		return nil
	})
}

// Extent hands out what has to be read as Encoded, so that it is read here.
func (s *salvaged) Extent(off, limit int64) (disk.Extent, error) {
	e, err := s.Disk.Extent(off, limit)
	if err != nil {
		s.warn(off-off%disk.SectorSize, true, err)
		n := min(limit, disk.SectorSize-off%disk.SectorSize, s.Size()-off)
		return disk.Extent{Start: off, Length: n, Kind: disk.Encoded, Layer: s}, nil
	}
	if e.Kind == disk.Data || e.Kind == disk.Encoded {
		return disk.Extent{Start: e.Start, Length: e.Length, Kind: disk.Encoded, Layer: salvagedRun{s, e}}, nil
	}
	return e, nil
}

// A salvagedRun reads a run of a disk.
type salvagedRun struct {
	disk *salvaged
	run  disk.Extent
}

func (r salvagedRun) ReadAt(p []byte, off int64) (int, error) {
	r.disk.read(storedRun{r.run}, p, off)
	return len(p), nil
}

// A storedRun reads a run at the offsets of its disk.
type storedRun struct{ disk.Extent }

func (r storedRun) ReadAt(p []byte, off int64) (int, error) {
	if err := r.Sub(off, off+int64(len(p))).Read(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// read reads what it can, at once or else sector by sector.
func (s *salvaged) read(r io.ReaderAt, p []byte, off int64) {
	if disk.ReadStored(r, p, off) == nil {
		return
	}
	for len(p) > 0 {
		n := min(int64(len(p)), disk.SectorSize-off%disk.SectorSize)
		if err := disk.ReadStored(r, p[:n], off); err != nil {
			clear(p[:n])
			s.warn(off-off%disk.SectorSize, false, err)
		}
		p, off = p[n:], off+n
	}
}
