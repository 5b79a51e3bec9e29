package dmg

import (
	"compress/bzip2"
	"errors"
	"io"
	"math/bits"
	"sort"

	"instar/disk"
	"instar/disk/internal/inflate"
	"instar/disk/internal/lzfse"
)

// Format is Apple's disk image. It has nothing to be recognized by at the start
// of the file; a file whose name ends in .dmg is looked at from its end.
var Format = disk.Format{Name: formatName, Suffix: ".dmg", ProbeEnd: probeEnd, Open: disk.WithoutSnapshots(formatName, open)}

// open reads the trailer and the tables. Where the tables cannot be trusted the
// image has a size and no content.
func open(f disk.File, o disk.OpenOptions) (disk.Image, error) {
	t, err := readTrailer(f)
	if err != nil {
		return nil, err
	}
	i := &image{file: f, end: t.at}
	i.info = disk.Info{Format: formatName, VirtualSize: t.sectors * disk.SectorSize}
	i.chunks, i.info.Refused = t.readTables(f)
	var damaged *disk.FormatError
	if err := i.info.Refused; err != nil && !errors.As(err, &damaged) {
		return nil, err
	}
	i.cache.decode = i.decode
	return i, nil
}

// An image is an open disk image.
type image struct {
	file   disk.File
	info   disk.Info
	end    int64 // of what chunks are stored in
	chunks []chunk
	cache  cache
}

func (i *image) Info() *disk.Info { return &i.info }

func (i *image) Size() int64 { return i.info.VirtualSize }

// find returns the index of the chunk that an offset lies in.
func (i *image) find(off int64) (int, error) {
	if err := i.info.Refused; err != nil {
		return 0, err
	}
	sector := off / disk.SectorSize
	k := sort.Search(len(i.chunks), func(k int) bool { return i.chunks[k].end() > sector })
	if k == len(i.chunks) || i.chunks[k].sector > sector {
		return 0, disk.Corruptf(formatName, "sector %d is in no chunk", sector)
	}
	if c := &i.chunks[k]; !i.stored(c) {
		return 0, disk.Corruptf(formatName, "the chunk at sector %d is stored behind the end of the file", c.sector)
	}
	return k, nil
}

// stored reports whether the file has all of a chunk.
func (i *image) stored(c *chunk) bool {
	return c.zero() || (c.offset <= i.end && c.length <= i.end-c.offset)
}

// mostMerged bounds the work of one call of Extent, which then returns a run
// that is shorter than it could be.
const mostMerged = 4096

// Extent is disk.Disk's. A run ends with its chunk, but for those of zeros and
// those that are compressed, which are taken together.
func (i *image) Extent(off, limit int64) (disk.Extent, error) {
	k, err := i.find(off)
	if err != nil {
		return disk.Extent{}, err
	}
	c := &i.chunks[k]
	e := disk.Extent{Start: off, Kind: kindOf(c)}
	switch e.Kind {
	case disk.Data:
		e.File, e.Offset = i.file, c.offset+off-c.sector*disk.SectorSize
	case disk.Encoded:
		e.Layer = i
	}
	limit = min(limit, i.Size()-off)
	end := c.end()
	for n := k + 1; e.Kind != disk.Data && n < len(i.chunks) && n-k < mostMerged && end*disk.SectorSize-off < limit; n++ {
		next := &i.chunks[n]
		if next.sector != end || kindOf(next) != e.Kind || !i.stored(next) {
			break
		}
		end = next.end()
	}
	e.Length = min(limit, end*disk.SectorSize-off)
	return e, nil
}

func kindOf(c *chunk) disk.Kind {
	switch {
	case c.zero():
		return disk.Zero
	case c.kind == kindRaw:
		return disk.Data
	}
	return disk.Encoded
}

// ReadAt is disk.Disk's.
func (i *image) ReadAt(p []byte, off int64) (int, error) {
	return disk.ReadWithin(i.Size(), p, off, i.read)
}

func (i *image) read(p []byte, off int64) error {
	for len(p) > 0 {
		k, err := i.find(off)
		if err != nil {
			return err
		}
		c := &i.chunks[k]
		in := off - c.sector*disk.SectorSize
		n := int(min(int64(len(p)), c.size()-in))
		switch kindOf(c) {
		case disk.Zero:
			clear(p[:n])
		case disk.Data:
			err = disk.ReadStored(i.file, p[:n], c.offset+in)
		default:
			err = i.cache.read(c, p[:n], in)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// decode returns the content of a compressed chunk, which is in b's memory.
func (i *image) decode(c *chunk, b *buffers) ([]byte, error) {
	stored := io.NewSectionReader(i.file, c.offset, c.length)
	var (
		out []byte
		err error
	)
	switch c.kind {
	case kindZlib:
		out, err = b.decodeWhole(stored, c, decodeZlib)
	case kindBzip2:
		out, err = b.readAll(bzip2.NewReader(stored), c)
	case kindADC:
		out, err = b.decodeWhole(stored, c, decodeADC)
	case kindLZFSE:
		out, err = b.decodeWhole(stored, c, lzfse.Decode)
	default:
		return nil, disk.Unsupportedf(formatName, "the chunk at sector %d is of kind %#x, which is not supported%s", c.sector, c.kind, hint(c.kind))
	}
	if err != nil {
		return nil, disk.Corruptf(formatName, "the chunk at sector %d: %v", c.sector, err)
	}
	return out, nil
}

func decodeZlib(dst, src []byte, size int) ([]byte, error) {
	dst = dst[:size]
	return dst, inflate.ZlibWhole(dst, src)
}

func hint(kind uint32) string {
	if kind == 0x80000008 {
		return " (LZMA)"
	}
	return ""
}

// sized returns n bytes of memory, which are p's if it has as many.
func sized(p []byte, n int64) []byte {
	switch {
	case int64(cap(p)) >= n:
		return p[:n]
	case n < large:
		return make([]byte, n)
	}
	return make([]byte, n, 1<<bits.Len64(uint64(n-1))) // it will do for most that come
}

// readAll reads all of r, which has to be as much as the chunk holds.
func (b *buffers) readAll(r io.Reader, c *chunk) ([]byte, error) {
	b.content = sized(b.content, c.size())
	if _, err := io.ReadFull(r, b.content); err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	} else if err != nil {
		return nil, err
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return nil, errLength
	case err != io.EOF:
		return nil, err
	}
	return b.content, nil
}

// decodeWhole decompresses a chunk that is read first.
func (b *buffers) decodeWhole(stored *io.SectionReader, c *chunk, decode func(dst, src []byte, size int) ([]byte, error)) ([]byte, error) {
	b.stored, b.content = sized(b.stored, c.length), sized(b.content, c.size())
	if err := disk.ReadStored(stored, b.stored, 0); err != nil {
		return nil, err
	}
	return decode(b.content[:0], b.stored, int(c.size()))
}
