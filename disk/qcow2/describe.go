package qcow2

import "instar/disk"

// describe fills the description of the image.
func (i *image) describe(snapshots []snapshot) {
	i.info = disk.Info{
		Format:      formatName,
		VirtualSize: i.virtual,
		ClusterSize: i.clusterSize,
		Encrypted:   i.cryptMethod != 0,
		Dirty:       i.incompatible&featureDirty != 0,
		Details:     i.details(),
	}
	if i.backingFile != "" {
		i.info.References = append(i.info.References, disk.Reference{
			Kind: disk.BackingFile, Names: []string{i.backingFile}, Format: i.backingFormat,
		})
	}
	if i.incompatible&featureDataFile != 0 {
		i.info.References = append(i.info.References, disk.Reference{
			Kind: disk.DataFile, Names: []string{i.dataFile}, Format: "raw",
		})
	}
	for _, s := range snapshots {
		i.info.Snapshots = append(i.info.Snapshots, s.Snapshot)
	}
}

func (i *image) details() []disk.Detail {
	compat, compression := "1.1", "zlib"
	if i.version < 3 {
		compat = "0.10"
	}
	if i.compression == compressionZstd {
		compression = "zstd"
	}
	d := []disk.Detail{{Key: "compat", Value: compat}, {Key: "compression-type", Value: compression}}
	add := func(key string, value any) { d = append(d, disk.Detail{Key: key, Value: value}) }
	if i.version >= 3 {
		add("lazy-refcounts", i.compatible&featureLazyRefcounts != 0)
	}
	add("refcount-bits", int64(1)<<i.refcountOrder)
	if i.incompatible&featureDataFile != 0 {
		add("data-file", i.dataFile)
		add("data-file-raw", i.autoclear&featureDataFileRaw != 0)
	}
	if i.version >= 3 {
		add("corrupt", i.incompatible&featureCorrupt != 0)
		add("extended-l2", i.incompatible&featureExtendedL2 != 0)
	}
	return d
}
