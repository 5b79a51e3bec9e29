package qcow2

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"

	"instar/disk"
	"instar/internal/qemunum"
)

// createOptions are the options of a new image (-o), as qemu-img names them.
type createOptions struct {
	version       uint32
	clusterBits   uint32
	refcountOrder uint32
	extendedL2    bool
	lazyRefcounts bool
	preallocation string // off, metadata, falloc or full
	compression   uint8
	backingFile   string
	backingFormat string
}

func parseCreateOptions(values map[string]string) (*createOptions, error) {
	o := &createOptions{version: 3, clusterBits: 16, refcountOrder: 4, preallocation: "off"}
	explicitRefcount := false
	for name, value := range values {
		var err error
		switch name {
		case "size": // the source's size counts
		case "compat":
			err = o.setCompat(value)
		case "cluster_size":
			err = o.setClusterSize(value)
		case "refcount_bits":
			explicitRefcount = true
			err = o.setRefcountBits(value)
		case "extended_l2":
			o.extendedL2, err = parseBool(name, value)
		case "lazy_refcounts":
			o.lazyRefcounts, err = parseBool(name, value)
		case "preallocation":
			err = o.setPreallocation(value)
		case "compression_type":
			err = o.setCompression(value)
		case "backing_file":
			o.backingFile = value
		case "backing_fmt":
			o.backingFormat = value
		case "data_file", "data_file_raw", "encryption", "encrypt.format", "encrypt.key-secret":
			err = disk.Unsupportedf(formatName, "option '%s' is not supported yet", name)
		default:
			err = fmt.Errorf("Invalid parameter '%s'", name)
		}
		if err != nil {
			return nil, err
		}
	}
	return o, o.check(explicitRefcount)
}

func parseBool(name, value string) (bool, error) {
	switch value {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, fmt.Errorf("Parameter '%s' expects 'on' or 'off'", name)
}

func (o *createOptions) setCompat(value string) error {
	switch value {
	case "0.10", "v2":
		o.version = 2
	case "1.1", "v3":
		o.version = 3
	default:
		return fmt.Errorf("Parameter 'version' does not accept value '%s'", value)
	}
	return nil
}

func (o *createOptions) setClusterSize(value string) error {
	n, err := qemunum.Parse(value)
	if err != nil {
		return fmt.Errorf("Parameter 'cluster_size' expects a non-negative number below 2^64")
	}
	if bits.OnesCount64(n) != 1 || n < 1<<minClusterBits || n > 1<<maxClusterBits {
		return fmt.Errorf("Cluster size must be a power of two between %d and %dk", 1<<minClusterBits, 1<<(maxClusterBits-10))
	}
	o.clusterBits = uint32(bits.TrailingZeros64(n))
	return nil
}

func (o *createOptions) setRefcountBits(value string) error {
	n, err := strconv.ParseUint(value, 0, 64)
	if err != nil {
		return fmt.Errorf("Parameter 'refcount_bits' expects a number")
	}
	if n > 64 || bits.OnesCount64(n) != 1 {
		return fmt.Errorf("Refcount width must be a power of two and may not exceed 64 bits")
	}
	o.refcountOrder = uint32(bits.TrailingZeros64(n))
	return nil
}

func (o *createOptions) setPreallocation(value string) error {
	switch value {
	case "off", "metadata", "falloc", "full":
		o.preallocation = value
		return nil
	}
	return fmt.Errorf("Parameter 'preallocation' does not accept value '%s'", value)
}

func (o *createOptions) setCompression(value string) error {
	switch value {
	case "zlib":
		o.compression = compressionZlib
	case "zstd":
		o.compression = compressionZstd
	default:
		return fmt.Errorf("Parameter 'compression-type' does not accept value '%s'", value)
	}
	return nil
}

// check finds options that do not go together.
func (o *createOptions) check(explicitRefcount bool) error {
	if o.version < 3 {
		switch {
		case o.lazyRefcounts:
			return fmt.Errorf("Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)")
		case o.refcountOrder != 4:
			return fmt.Errorf("Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)")
		case o.extendedL2:
			return fmt.Errorf("Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)")
		case o.compression != compressionZlib:
			return fmt.Errorf("Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)")
		}
	}
	if o.extendedL2 && o.clusterBits < 14 {
		return fmt.Errorf("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
	}
	return nil
}

// featureNames are the features that QEMU 7.2 names in the header of a new
// image: type (0 incompatible, 1 compatible, 2 autoclear), bit, name.
var featureNames = []struct {
	kind, bit uint8
	name      string
}{
	{0, 0, "dirty bit"},
	{0, 1, "corrupt bit"},
	{0, 2, "external data file"},
	{0, 3, "compression type"},
	{0, 4, "extended L2 entries"},
	{1, 0, "lazy refcounts"},
	{2, 0, "bitmaps"},
	{2, 1, "raw external data"},
}

// newHeaderLength is the length of the header of version 3 that is written: up
// to the compression type, and padded to eight bytes.
const newHeaderLength = 112

// encodeHeader returns the first cluster of an image. Its extensions and the
// backing file's name are in the order in which QEMU writes them.
func (w *writer) encodeHeader() ([]byte, error) {
	be := binary.BigEndian
	p := make([]byte, w.clusterSize)
	copy(p, "QFI\xfb")
	be.PutUint32(p[4:], w.version)
	be.PutUint32(p[20:], w.clusterBits)
	be.PutUint64(p[24:], uint64(w.size))
	be.PutUint32(p[36:], uint32(len(w.l1)))
	be.PutUint64(p[40:], uint64(w.l1At*w.clusterSize))
	be.PutUint64(p[48:], uint64(w.reftableAt*w.clusterSize))
	be.PutUint32(p[56:], uint32(w.reftableClusters))
	at := v2HeaderLength
	if w.version >= 3 {
		at = newHeaderLength
		be.PutUint64(p[72:], w.incompatible())
		if w.lazyRefcounts {
			be.PutUint64(p[80:], featureLazyRefcounts)
		}
		be.PutUint32(p[96:], w.refcountOrder)
		be.PutUint32(p[100:], newHeaderLength)
		p[104] = w.compression
	}
	return p, w.encodeExtensions(p, at)
}

func (w *writer) incompatible() uint64 {
	var f uint64
	if w.compression != compressionZlib {
		f |= featureCompression
	}
	if w.extendedL2 {
		f |= featureExtendedL2
	}
	return f
}

// encodeExtensions writes the header extensions into the header cluster p from
// at on, and the backing file's name behind them.
func (w *writer) encodeExtensions(p []byte, at int) error {
	be := binary.BigEndian
	const head = 8
	add := func(kind uint32, data []byte) bool {
		padded := (len(data) + 7) &^ 7
		if at+head+padded+head+len(w.backingFile) > len(p) {
			return false
		}
		be.PutUint32(p[at:], kind)
		be.PutUint32(p[at+4:], uint32(len(data)))
		copy(p[at+head:], data)
		at += head + padded
		return true
	}
	if w.backingFormat != "" && !add(extensionBackingFormat, []byte(w.backingFormat)) {
		return fmt.Errorf("Backing file name too long")
	}
	if w.version >= 3 && w.clusterSize > 4096 { // QEMU spares it small clusters
		var table []byte
		for _, f := range featureNames {
			row := make([]byte, 48)
			row[0], row[1] = f.kind, f.bit
			copy(row[2:], f.name)
			table = append(table, row...)
		}
		add(extensionFeatureNames, table)
	}
	at += head // the end of the extensions
	if w.backingFile == "" {
		return nil
	}
	if at+len(w.backingFile) > len(p) || len(w.backingFile) > maxBackingName {
		return fmt.Errorf("Backing file name too long")
	}
	be.PutUint64(p[8:], uint64(at))
	be.PutUint32(p[16:], uint32(copy(p[at:], w.backingFile)))
	return nil
}
