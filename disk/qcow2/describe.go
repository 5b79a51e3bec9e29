package qcow2

import (
	"strconv"

	"instar/disk"
)

// describe fills the description of the image.
func (i *image) describe(snapshots []snapshot, bitmaps []any, encryption []disk.Detail) {
	i.info = disk.Info{
		Format:      formatName,
		VirtualSize: i.virtual,
		ClusterSize: i.clusterSize,
		Encrypted:   i.cryptMethod != cryptNone,
		Dirty:       i.incompatible&featureDirty != 0,
		Refused:     i.refused(),
		References:  i.references(),
		Details:     i.details(bitmaps, encryption),
		Options:     i.options(),
	}
	switch {
	case len(snapshots) > 0:
		i.info.Lost = "it has internal snapshots"
	case len(bitmaps) > 0:
		i.info.Lost = "it has persistent bitmaps"
	case i.hasDataFile():
		i.info.Lost = "it has an external data file"
	}
	for _, s := range snapshots {
		i.info.Snapshots = append(i.info.Snapshots, s.Snapshot)
	}
}

// options are those that the image is created by.
func (h *header) options() map[string]string {
	onOff := map[bool]string{true: "on", false: "off"}
	o := map[string]string{
		"cluster_size":     strconv.FormatInt(h.clusterSize, 10),
		"refcount_bits":    strconv.Itoa(1 << h.refcountOrder),
		"compression_type": compressionName[h.compression],
	}
	switch h.cryptMethod {
	case cryptAES:
		o[cryptPrefix+"format"] = "aes"
	case cryptLUKS:
		o[cryptPrefix+"format"] = "luks"
	}
	if h.version < 3 {
		o["compat"] = "0.10"
		return o
	}
	o["compat"] = "1.1"
	o["lazy_refcounts"] = onOff[h.compatible&featureLazyRefcounts != 0]
	o["extended_l2"] = onOff[h.incompatible&featureExtendedL2 != 0]
	return o
}

var compressionName = map[uint8]string{compressionZlib: "zlib", compressionZstd: "zstd"}

// refused returns why the content cannot be read.
func (i *image) refused() error {
	switch {
	case i.noCipher != nil:
		return i.noCipher
	case i.cryptMethod != cryptNone && i.cipher == nil:
		return &disk.PassphraseError{Format: formatName, Msg: "Parameter 'encrypt.key-secret' is required for cipher"}
	}
	return i.checkContent()
}

func (h *header) references() []disk.Reference {
	var list []disk.Reference
	if h.backingFile != "" {
		list = append(list, disk.Reference{Kind: disk.BackingFile, Names: []string{h.backingFile}, Format: h.backingFormat})
	}
	if h.hasDataFile() && h.dataFile != "" {
		list = append(list, disk.Reference{Kind: disk.DataFile, Names: []string{h.dataFile}, Format: "raw"})
	}
	return list
}

// details lists the fields in the order that qemu-img prints them in.
func (h *header) details(bitmaps []any, encryption []disk.Detail) []disk.Detail {
	var list []disk.Detail
	add := func(shown bool, key string, value any) {
		if shown {
			list = append(list, disk.Detail{Key: key, Value: value})
		}
	}
	v3 := h.version >= 3
	add(!v3, "compat", "0.10")
	add(v3, "compat", "1.1")
	add(true, "compression-type", compressionName[h.compression])
	add(v3, "lazy-refcounts", h.compatible&featureLazyRefcounts != 0)
	add(len(bitmaps) > 0, "bitmaps", bitmaps)
	add(true, "refcount-bits", int64(1)<<h.refcountOrder)
	add(h.dataFile != "", "data-file", h.dataFile)
	add(encryption != nil, "encrypt", encryption)
	add(h.hasDataFile(), "data-file-raw", h.autoclear&featureDataFileRaw != 0)
	add(v3, "corrupt", h.incompatible&featureCorrupt != 0)
	add(v3, "extended-l2", h.incompatible&featureExtendedL2 != 0)
	return list
}
