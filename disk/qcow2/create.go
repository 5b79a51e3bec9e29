package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"

	"instar/disk/internal/luks"
	"instar/internal/qemunum"
)

// subclusters is how many subclusters a cluster has with extended L2 entries.
const subclusters = 32

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
	dataFile      string
	dataFileRaw   bool
	encrypted     bool
	encryption    string        // aes or luks, if encrypted
	luks          *luks.Options // nil is no LUKS
}

// knownOptions are the options of a new image by name.
var knownOptions = map[string]bool{
	"size": true, "compat": true, "cluster_size": true, "refcount_bits": true, "extended_l2": true,
	"lazy_refcounts": true, "preallocation": true, "compression_type": true, "backing_file": true,
	"backing_fmt": true, "data_file": true, "data_file_raw": true, "encryption": true, "encrypt.format": true,
	"encrypt.key-secret": true, "encrypt.cipher-alg": true, "encrypt.cipher-mode": true, "encrypt.ivgen-alg": true,
	"encrypt.ivgen-hash-alg": true, "encrypt.hash-alg": true, "encrypt.iter-time": true,
}

// parseCreateOptions reads the options in the order in which qemu-img does, so
// that of several errors the same one is named.
func parseCreateOptions(values map[string]string) (*createOptions, error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !knownOptions[name] {
			return nil, fmt.Errorf("Invalid parameter '%s'", name)
		}
	}
	o := &createOptions{version: 3, clusterBits: 16, refcountOrder: 4, preallocation: "off"}
	var clusterSize, refcountBits uint64 = 1 << 16, 16
	for _, read := range []func() error{
		func() error { return readNumber(values, "cluster_size", &clusterSize) },
		func() error { return readNumber(values, "refcount_bits", &refcountBits) },
		func() error { return readBool(values, "extended_l2", &o.extendedL2) },
		func() error { return readBool(values, "lazy_refcounts", &o.lazyRefcounts) },
		func() error { return readBool(values, "data_file_raw", &o.dataFileRaw) },
		func() error { return o.readEncryption(values) },
		func() error { return o.setCompat(values) },
		func() error { return o.setBacking(values) },
		func() error { return o.readCipher(values) },
		func() error { return o.setPreallocation(values) },
		func() error { return o.setCompression(values) },
		func() error { return o.check(clusterSize, refcountBits) },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// readNumber reads a number in bytes or of bits.
func readNumber(values map[string]string, name string, n *uint64) error {
	value, ok := values[name]
	if !ok {
		return nil
	}
	var err error
	if *n, err = qemunum.Parse(value); err != nil {
		if *n, err = strconv.ParseUint(value, 10, 64); err != nil {
			return fmt.Errorf("Parameter '%s' expects a number", name)
		}
	}
	return nil
}

func readBool(values map[string]string, name string, b *bool) error {
	switch value, ok := values[name]; {
	case !ok:
	case value == "on" || value == "yes" || value == "true" || value == "y":
		*b = true
	case value == "off" || value == "no" || value == "false" || value == "n":
		*b = false
	default:
		return fmt.Errorf("Parameter '%s' expects 'on' or 'off'", name)
	}
	return nil
}

// oneOf reads a value that must be one of some.
func oneOf(values map[string]string, name, shown string, v *string, allowed ...string) error {
	value, ok := values[name]
	if !ok {
		return nil
	}
	if !slices.Contains(allowed, value) {
		return fmt.Errorf("Parameter '%s' does not accept value '%s'", shown, value)
	}
	*v = value
	return nil
}

func (o *createOptions) setCompat(values map[string]string) error {
	compat := "v3"
	err := oneOf(values, "compat", "version", &compat, "0.10", "1.1", "v2", "v3")
	if compat == "0.10" || compat == "v2" {
		o.version = 2
	}
	return err
}

func (o *createOptions) setBacking(values map[string]string) error {
	o.backingFile, o.dataFile = values["backing_file"], values["data_file"]
	return oneOf(values, "backing_fmt", "backing-fmt", &o.backingFormat, backingFormats...)
}

// backingFormats are the drivers that QEMU 7.2 lets be named as a backing
// file's.
var backingFormats = []string{
	"bochs", "cloop", "dmg", "file", "host_device", "luks", "parallels", "qcow", "qcow2", "qed", "raw", "vdi", "vhdx",
	"vmdk", "vpc",
}

func (o *createOptions) setPreallocation(values map[string]string) error {
	return oneOf(values, "preallocation", "preallocation", &o.preallocation, "off", "metadata", "falloc", "full")
}

func (o *createOptions) setCompression(values map[string]string) error {
	kind := "zlib"
	err := oneOf(values, "compression_type", "compression-type", &kind, "zlib", "zstd")
	if kind == "zstd" {
		o.compression = compressionZstd
	}
	return err
}

// check finds values that are out of range and options that do not go together,
// in qemu-img's order.
func (o *createOptions) check(clusterSize, refcountBits uint64) error {
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{
			o.extendedL2 && o.version < 3,
			"Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)",
		},
		{
			bits.OnesCount64(clusterSize) != 1 || clusterSize < 1<<minClusterBits || clusterSize > 1<<maxClusterBits,
			fmt.Sprintf("Cluster size must be a power of two between %d and %dk", 1<<minClusterBits, 1<<(maxClusterBits-10)),
		},
		{
			o.extendedL2 && clusterSize < 1<<14,
			"Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
		},
		{
			o.backingFile != "" && o.preallocation != "off" && !o.extendedL2,
			"Backing file and preallocation can only be used at the same time if extended_l2 is on",
		},
		{o.backingFile == "" && o.backingFormat != "", "Backing format cannot be used without backing file"},
		{
			o.lazyRefcounts && o.version < 3,
			"Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)",
		},
		{
			bits.OnesCount64(refcountBits) != 1 || refcountBits > 64,
			"Refcount width must be a power of two and may not exceed 64 bits",
		},
		{
			refcountBits != 16 && o.version < 3,
			"Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)",
		},
		{o.dataFileRaw && o.dataFile == "", "data-file-raw requires data-file"},
		{o.dataFileRaw && o.backingFile != "", "Backing file and data-file-raw cannot be used at the same time"},
		{
			o.dataFile != "" && o.version < 3,
			"External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)",
		},
		{
			o.compression != compressionZlib && o.version < 3,
			"Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)",
		},
	} {
		if wrong.is {
			return errors.New(wrong.text)
		}
	}
	o.clusterBits = uint32(bits.TrailingZeros64(clusterSize))
	o.refcountOrder = uint32(bits.TrailingZeros64(refcountBits))
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
	be.PutUint32(p[32:], w.cryptMethod)
	be.PutUint32(p[36:], uint32(len(w.l1)))
	be.PutUint64(p[40:], uint64(w.l1At*w.clusterSize))
	be.PutUint64(p[48:], uint64(w.tableAt*w.clusterSize))
	be.PutUint32(p[56:], uint32(w.tableSize))
	at := v2HeaderLength
	if w.version >= 3 {
		at = newHeaderLength
		be.PutUint64(p[72:], w.incompatible())
		if w.lazyRefcounts {
			be.PutUint64(p[80:], featureLazyRefcounts)
		}
		be.PutUint64(p[88:], w.autoclear())
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
	if w.dataFile != "" {
		f |= featureDataFile
	}
	return f
}

func (w *writer) autoclear() uint64 {
	var f uint64
	if len(w.bitmaps) > 0 {
		f |= featureBitmaps
	}
	if w.dataFileRaw {
		f |= featureDataFileRaw
	}
	return f
}

// errNoRoom is qemu-img's text where the header does not fit into a cluster.
var errNoRoom = errors.New("Could not update qcow2 header: No space left on device") //nolint:staticcheck // qemu-img's text

// noBacking is qemu-img's text for a name that the header cannot have.
func (w *writer) noBacking(why string) error {
	return fmt.Errorf("Could not assign backing file '%s' with format '%s': %s", w.backingFile, w.backingFormat, why)
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
		return w.noBacking("No space left on device")
	}
	if w.dataFile != "" && !add(extensionDataFile, []byte(w.dataFile)) {
		return errNoRoom
	}
	if w.cryptMethod == cryptLUKS {
		add(extensionCrypto, w.encodeCryptExtension())
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
	if len(w.bitmaps) > 0 && !add(extensionBitmaps, w.bitmapDirectory.encode()) {
		return errors.New("there is no room for bitmaps in the header")
	}
	at += head // the end of the extensions
	if w.backingFile == "" {
		return nil
	}
	switch {
	case len(w.backingFile) > maxBackingName:
		return w.noBacking("Invalid argument")
	case at+len(w.backingFile) > len(p):
		return w.noBacking("No space left on device")
	}
	be.PutUint64(p[8:], uint64(at))
	be.PutUint32(p[16:], uint32(copy(p[at:], w.backingFile)))
	return nil
}
