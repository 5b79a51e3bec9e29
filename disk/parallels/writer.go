package parallels

import (
	"encoding/binary"
	"errors"

	"instar/disk"
	"instar/disk/internal/lay"
)

const (
	newCluster = 1 << 20
	newHeads   = 16
	newSectors = 32 // per track of the geometry, which nobody goes by
)

// A writer stores clusters in the order in which content comes, as QEMU does:
// the header, the BAT up to a cluster, and then the clusters. The header is
// written last.
type writer struct {
	lay.Blocks
	header   []byte
	bat      *lay.Table
	dense    bool
	existing bool
}

// create begins an image, of the second generation.
func create(t disk.Target, size int64, o disk.WriterOptions) (disk.Writer, error) {
	if o.Compress {
		return nil, disk.Unsupportedf(formatName, "Compression not supported for this file format")
	}
	options, err := lay.Options(formatName, o.Values)
	if err != nil {
		return nil, err
	}
	cluster, err := clusterSize(options.NumberOr("cluster_size", newCluster), size)
	if err != nil {
		return nil, err
	}
	if !o.Existing {
		if err := t.Truncate(0); err != nil {
			return nil, err
		}
	}
	entries := (size + cluster - 1) / cluster
	first := (headerSize + 4*entries + cluster - 1) / cluster * cluster
	w := &writer{dense: o.Dense, existing: o.Existing, header: newHeader(size, cluster, entries, first)}
	w.Blocks = lay.Blocks{Target: t, First: first, Block: cluster, Zeroed: o.Zeroed || !o.Existing}
	w.bat = lay.NewTable(t, headerSize, first-headerSize, 0, w.Zeroed)
	w.Stored = func(index, number int64) error {
		return w.bat.Set(4*index, binary.LittleEndian.AppendUint32(nil, uint32(first/cluster+number)))
	}
	return w, nil
}

// clusterSize returns the size of clusters for a disk, of which n bytes are asked
// for: QEMU rounds up to sectors.
func clusterSize(n uint64, size int64) (int64, error) {
	switch {
	case n >= 1<<31-1:
		return 0, errors.New("Cluster size is too large") //nolint:staticcheck // qemu-img's text
	case uint64(size) >= n<<32:
		return 0, errors.New("Image size is too large for this cluster size") //nolint:staticcheck // qemu-img's text
	}
	cluster := int64(n+disk.SectorSize-1) / disk.SectorSize * disk.SectorSize
	switch { // QEMU makes these, and does not open them
	case cluster/disk.SectorSize > maxTracks:
		return 0, errors.New("Invalid image: Too big cluster") //nolint:staticcheck // qemu-img's text
	case (size+cluster-1)/cluster > maxEntries:
		return 0, errors.New("Catalog too large") //nolint:staticcheck // qemu-img's text
	}
	return cluster, nil
}

// newHeader returns the header of a new image.
func newHeader(size, cluster, entries, first int64) []byte {
	le := binary.LittleEndian
	p := make([]byte, headerSize)
	copy(p, magicV2)
	le.PutUint32(p[16:], version)
	le.PutUint32(p[20:], newHeads)
	le.PutUint32(p[24:], uint32(size/disk.SectorSize/(newHeads*newSectors)))
	le.PutUint32(p[28:], uint32(cluster/disk.SectorSize))
	le.PutUint32(p[32:], uint32(entries))
	le.PutUint64(p[36:], uint64(size/disk.SectorSize))
	le.PutUint32(p[48:], uint32(first/disk.SectorSize))
	return p
}

// Zero leaves clusters out, unless all of the space is to be allocated.
func (w *writer) Zero(_, _ int64) error {
	if w.dense {
		return errors.ErrUnsupported
	}
	return nil
}

func (w *writer) Finish() error {
	if err := w.Close(); err != nil {
		return err
	}
	if !w.existing {
		if err := w.Target.Truncate(w.End()); err != nil {
			return err
		}
	}
	if err := w.bat.Close(); err != nil {
		return err
	}
	_, err := w.Target.WriteAt(w.header, 0)
	return err
}
