// Package imageopts declares the options (-o) that each format's images can be
// created with, once and as data: from it come the lists that -o help prints,
// the errors about names and values, and the page docs/options.md.
//
// What is declared here is whether a value is of its option's type. What it
// means, and which values go together, is for the format's writer.
package imageopts

// A Type says what the value of an option looks like.
type Type int

// The types of values.
const (
	String Type = iota
	Bool        // on, yes, true, y, off, no, false or n
	Number      // as strtoull reads it: decimal, 0x hexadecimal or 0 octal
	Size        // bytes, with a suffix perhaps (package qemunum)
)

// String returns what qemu-img calls a type.
func (t Type) String() string {
	return [...]string{"str", "bool (on/off)", "num", "size"}[t]
}

// An Option is one option of a format.
type Option struct {
	Name string
	Type Type
	// Default is what qemu-img says to be the value when none is given; the
	// default of others depends, or is nothing.
	Default string
	Help    string
	// Values are those that are allowed; empty is any of the type.
	Values []string
}

// Names of formats.
const (
	file      = "file"
	raw       = "raw"
	qcow2     = "qcow2"
	vmdk      = "vmdk"
	vpc       = "vpc"
	vhdx      = "vhdx"
	vdi       = "vdi"
	qcow      = "qcow"
	parallels = "parallels"
	qed       = "qed"
	luks      = "luks"
)

// Formats are the names of the formats that have options, in the order of the
// documentation.
var Formats = []string{raw, qcow2, vmdk, vpc, vhdx, vdi, qcow, parallels, qed, luks}

var onOff = []string{"on", "off"}

var size = Option{Name: "size", Type: Size, Help: "Virtual disk size"}

// The options of the file that an image is in. Every format has them besides its
// own, of which one with the same name counts.
var fileOptions = []Option{
	size,
	{Name: "nocow", Type: Bool, Help: "Turn off copy-on-write (valid only on btrfs)", Values: onOff},
	{
		Name: "preallocation", Type: String, Help: "Preallocation mode (allowed values: off, falloc, full)",
		Values: []string{"off", "falloc", "full"},
	},
	{Name: "extent_size_hint", Type: Size, Help: "Extent size hint for the image file, 0 to disable"},
}

var (
	backingFile   = Option{Name: "backing_file", Type: String, Help: "File name of a base image"}
	backingFormat = Option{Name: "backing_fmt", Type: String, Help: "Image format of the base image"}
	encryption    = Option{
		Name: "encryption", Type: Bool, Values: onOff,
		Help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
	}
)

// luksOptions returns the options of a LUKS header, behind a prefix.
func luksOptions(prefix, secret string) []Option {
	return []Option{
		{Name: prefix + "key-secret", Type: String, Help: secret},
		{Name: prefix + "cipher-alg", Type: String, Help: "Name of encryption cipher algorithm"},
		{Name: prefix + "cipher-mode", Type: String, Help: "Name of encryption cipher mode"},
		{Name: prefix + "ivgen-alg", Type: String, Help: "Name of IV generator algorithm"},
		{Name: prefix + "ivgen-hash-alg", Type: String, Help: "Name of IV generator hash algorithm"},
		{Name: prefix + "hash-alg", Type: String, Help: "Name of encryption hash algorithm"},
		{Name: prefix + "iter-time", Type: Number, Help: "Time to spend in PBKDF in milliseconds"},
	}
}

// own are the options of each format, in the order in which qemu-img lists them
// when it creates an image.
var own = map[string][]Option{
	file: fileOptions,
	raw:  {size},
	qcow2: join(
		[]Option{
			encryption,
			{
				Name: "encrypt.format", Type: String, Help: "Encrypt the image, format choices: 'aes', 'luks'",
				Values: []string{"aes", "luks"},
			},
		},
		luksOptions("encrypt.", "ID of secret providing qcow AES key or LUKS passphrase"),
		[]Option{
			{Name: "cluster_size", Type: Size, Default: "65536", Help: "qcow2 cluster size"},
			{Name: "extended_l2", Type: Bool, Default: "off", Help: "Extended L2 tables", Values: onOff},
			{
				Name: "preallocation", Type: String, Help: "Preallocation mode (allowed values: off, metadata, falloc, full)",
				Values: []string{"off", "metadata", "falloc", "full"},
			},
			{
				Name: "compression_type", Type: String, Default: "zlib", Help: "Compression method used for image cluster compression",
				Values: []string{"zlib", "zstd"},
			},
			size,
			{
				Name: "compat", Type: String, Help: "Compatibility level (v2 [0.10] or v3 [1.1])",
				Values: []string{"0.10", "v2", "1.1", "v3"},
			},
			backingFile,
			backingFormat,
			{Name: "data_file", Type: String, Help: "File name of an external data file"},
			{Name: "data_file_raw", Type: Bool, Help: "The external data file must stay valid as a raw image", Values: onOff},
			{Name: "lazy_refcounts", Type: Bool, Default: "off", Help: "Postpone refcount updates", Values: onOff},
			{Name: "refcount_bits", Type: Number, Default: "16", Help: "Width of a reference count entry in bits"},
		},
	),
	vmdk: {
		size,
		{
			Name: "adapter_type", Type: String,
			Help:   "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX",
			Values: []string{"ide", "lsilogic", "buslogic", "legacyESX"},
		},
		backingFile,
		{Name: "backing_fmt", Type: String, Help: "Must be 'vmdk' if present"},
		{Name: "compat6", Type: Bool, Default: "off", Help: "VMDK version 6 image", Values: onOff},
		{Name: "hwversion", Type: String, Default: "undefined", Help: "VMDK hardware version"},
		{Name: "toolsversion", Type: String, Help: "VMware guest tools version"},
		{
			Name: "subformat", Type: String,
			Help:   "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
			Values: []string{"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"},
		},
		{Name: "zeroed_grain", Type: Bool, Help: "Enable efficient zero writes using the zeroed-grain GTE feature", Values: onOff},
	},
	vpc: {
		size,
		{
			Name: "subformat", Type: String,
			Help:   "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ",
			Values: []string{"dynamic", "fixed"},
		},
		{
			Name: "force_size", Type: Bool, Values: onOff,
			Help: "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation",
		},
	},
	vhdx: {
		{Name: "size", Type: Size, Help: "Virtual disk size; max of 64TB."},
		{Name: "log_size", Type: Size, Default: "1048576", Help: "Log size; min 1MB."},
		{
			Name: "block_size", Type: Size, Default: "0",
			Help: "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.",
		},
		{
			Name: "subformat", Type: String, Help: "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.",
			Values: []string{"dynamic", "fixed"},
		},
		{
			Name: "block_state_zero", Type: Bool, Values: onOff,
			Help: "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic.",
		},
	},
	vdi: {
		size,
		{Name: "static", Type: Bool, Default: "off", Help: "VDI static (pre-allocated) image", Values: onOff},
	},
	qcow: {
		size,
		backingFile,
		{Name: "backing_fmt", Type: String, Help: "Format of the backing image"},
		encryption,
		{Name: "encrypt.format", Type: String, Help: "Encrypt the image, format choices: 'aes'", Values: []string{"aes"}},
		{Name: "encrypt.key-secret", Type: String, Help: "ID of the secret that provides the AES encryption key"},
	},
	parallels: {
		size,
		{Name: "cluster_size", Type: Size, Default: "1048576", Help: "Parallels image cluster size"},
	},
	qed: {
		size,
		backingFile,
		backingFormat,
		{Name: "cluster_size", Type: Size, Default: "65536", Help: "Cluster size (in bytes)"},
		{Name: "table_size", Type: Size, Help: "L1/L2 table size (in clusters)"},
	},
	luks: join([]Option{size}, luksOptions("", "ID of the secret that provides the keyslot passphrase")),
}

func join(lists ...[]Option) []Option {
	var all []Option
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// Of returns the options of a format, and those of the file below it that it
// has none of the same name for. It is nil for what is no format, or one that
// nobody creates images of.
func Of(format string) []Option {
	list, ok := own[format]
	if !ok {
		return nil
	}
	list = append([]Option(nil), list...)
	for _, o := range fileOptions {
		if find(list, o.Name) == nil {
			list = append(list, o)
		}
	}
	return list
}

// OfFile reports whether it is the file below an image of that format that an
// option is for, and not the image.
func OfFile(format, name string) bool {
	return find(fileOptions, name) != nil && find(own[format], name) == nil
}

// Has reports whether a format has an option of its own of that name.
func Has(format, name string) bool { return find(own[format], name) != nil }

// Default returns what a format says the default of one of its options is; ""
// is nothing.
func Default(format, name string) string {
	if o := find(own[format], name); o != nil {
		return o.Default
	}
	return ""
}

func find(list []Option, name string) *Option {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}
