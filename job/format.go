package job

import (
	"fmt"
	"math"
)

// An OutputFormat is a format that can be written.
type OutputFormat string

// The formats that can be written.
const (
	Raw       OutputFormat = "raw"
	QCOW2     OutputFormat = "qcow2"
	VMDK      OutputFormat = "vmdk"
	VPC       OutputFormat = "vpc"
	VHDX      OutputFormat = "vhdx"
	LUKS      OutputFormat = "luks"
	VDI       OutputFormat = "vdi"
	QCOW      OutputFormat = "qcow"
	QED       OutputFormat = "qed"
	Parallels OutputFormat = "parallels"
)

var written = map[OutputFormat]bool{
	Raw: true, QCOW2: true, VPC: true, VHDX: true, VMDK: true, LUKS: true,
	VDI: true, QCOW: true, QED: true, Parallels: true,
}

// An UnknownFormatError says that there is no format of that name.
type UnknownFormatError struct{ Name string }

func (e *UnknownFormatError) Error() string { return fmt.Sprintf("unknown file format %q", e.Name) }

// A ReadOnlyFormatError names a format that is read, and not written.
type ReadOnlyFormatError struct{ Format string }

func (e *ReadOnlyFormatError) Error() string {
	return fmt.Sprintf("images of format '%s' are not written", e.Format)
}

// ParseOutputFormat returns the output format of that name, as qemu-img's -O
// spells it (case-sensitive). The error is an *UnknownFormatError.
func ParseOutputFormat(name string) (OutputFormat, error) {
	if written[OutputFormat(name)] {
		return OutputFormat(name), nil
	}
	return "", &UnknownFormatError{Name: name}
}

// Compresses reports whether images of that format can be compressed (-c).
func (f OutputFormat) Compresses() bool { return f == QCOW2 || f == VMDK || f == QCOW }

// CanBeEmpty reports whether there are images of that format and size 0.
func (f OutputFormat) CanBeEmpty() bool { return f != VMDK && f != QCOW }

// OutputCapacity returns the length in bytes up to which an image of that
// format and virtual size (bytes) may be written: the ceiling of the output's
// grant. It saturates at the greatest file offset.
func OutputCapacity(f OutputFormat, virtualSize int64) int64 {
	switch f {
	case Raw:
		return roundUp(virtualSize, 512)
	case QCOW2:
		// With clusters of 512 bytes, the smallest, each takes an L2 entry of 8
		// or 16 bytes and a refcount of 8, and each table of these a refcount;
		// clusters of 2 MiB, the greatest, are rounded up to, six at least.
		content := roundUp(virtualSize, 2<<20)
		return saturate(content, content/16, 16<<20)
	case VMDK:
		// Each grain of 64 KiB takes an entry of 4 bytes in two tables, each table
		// of 512 one in two directories. Stored compressed, it may take 512 bytes
		// more: a marker, what deflate adds, and up to the next sector.
		content := roundUp(virtualSize, 64<<10)
		return saturate(content, content/64, 16<<20)
	case LUKS:
		// The greatest header has eight keyslots of 4000 stripes of 64 bytes.
		return saturate(roundUp(virtualSize, 512), 4<<20)
	case VPC:
		// The geometry adds less than a cylinder. Each block of 2 MiB takes a
		// bitmap of 512 bytes and an entry of the BAT.
		content := roundUp(saturate(virtualSize, 16*255*512), 2<<20)
		return saturate(content, content/4096, content/(512<<10), 64<<10)
	case VHDX:
		// The greatest blocks have 256 MiB; the smallest take an entry of the
		// BAT for each 1 MiB, and one for a bitmap for each 4096. A log may have
		// 4 GiB, and the BAT of an empty image 2.
		content := roundUp(virtualSize, 256<<20)
		entries := content>>20 + content>>32 + 1
		return saturate(content, entries*8, 4<<30, 2<<30, 16<<20)
	case VDI:
		// Each block of 1 MiB takes an entry of 4 bytes.
		content := roundUp(virtualSize, 1<<20)
		return saturate(content, content>>18, 2048)
	case QCOW:
		// Clusters of 512 bytes, above a backing file, take an entry of 8 bytes
		// in an L2 table; each table of 4 KiB or more has one in the L1 table.
		content := roundUp(virtualSize, 4096)
		return saturate(content, content>>6, content>>15, 1<<20)
	case QED:
		// Clusters of 4 KiB, the smallest, take an entry of 8 bytes; clusters of
		// 64 MiB, the greatest, are rounded up to, and tables have up to 1 GiB.
		content := roundUp(virtualSize, 64<<20)
		return saturate(content, content>>9, 2<<30, 64<<20)
	case Parallels:
		// Clusters of 512 bytes, the smallest, take an entry of 4 bytes; those
		// of 2 GiB, the greatest, are rounded up to, for the BAT as well.
		return saturate(virtualSize, virtualSize>>7, 4<<30)
	}
	return 0
}

// saturate returns the sum of numbers that are not negative.
func saturate(numbers ...int64) int64 {
	sum := int64(0)
	for _, n := range numbers {
		if n > math.MaxInt64-sum {
			return math.MaxInt64
		}
		sum += n
	}
	return sum
}

func roundUp(n, unit int64) int64 {
	if n > math.MaxInt64-(unit-1) {
		return math.MaxInt64
	}
	return (n + unit - 1) / unit * unit
}
