package vmdk

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"instar/disk"
	"instar/disk/internal/winpath"
)

const (
	formatName = "vmdk"

	// QEMU's limits (block/vmdk.c): on a descriptor that is a file, on one that
	// is embedded, on the names in it, in bytes.
	maxDescriptor  = 1<<20 - 1
	maxEmbedded    = 20 * disk.SectorSize
	maxExtentName  = 511
	maxParentName  = 1023
	embeddedAt     = disk.SectorSize
	errDescriptor  = "invalid VMDK image descriptor"
	errSectors     = "Could not refresh total sector count: File too large"
	maxSectors     = math.MaxInt64 / disk.SectorSize
	kindFlat       = "FLAT"
	kindVMFS       = "VMFS"
	kindZero       = "ZERO"
	kindSparse     = "SPARSE"
	kindVMFSSparse = "VMFSSPARSE"
	kindSESparse   = "SESPARSE"

	// maxExtents bounds the files that one disk is made of: 4 TiB in files of
	// 2 GiB.
	maxExtents = 2048
)

// fileTypes are the types of disks whose extents are files of their own.
var fileTypes = []string{
	"monolithicFlat", "vmfs", "vmfsSparse", "seSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
}

// A descriptor is what the text says (Virtual Disk Format 5.0, "The
// Descriptor File").
type descriptor struct {
	cid, parentCID uint32
	createType     string
	parentHint     string // "parentFileNameHint"
	extents        []extentLine
	base           []string // the lines of the disk data base
}

// An extentLine is one line of the extent description.
type extentLine struct {
	kind    string
	sectors int64
	name    string
	offset  int64 // in the file, in sectors
}

// parseDescriptor reads what every descriptor has.
func parseDescriptor(text []byte) (*descriptor, error) {
	fields := parseFields(text)
	d := &descriptor{createType: fields["createType"], parentHint: fields["parentFileNameHint"], base: diskDataBase(text)}
	for _, field := range []struct {
		key string
		cid *uint32
	}{{"CID", &d.cid}, {"parentCID", &d.parentCID}} {
		n, err := strconv.ParseUint(fields[field.key], 16, 32)
		if err != nil {
			return nil, disk.Corruptf(formatName, "%s: no valid %s", errDescriptor, field.key)
		}
		*field.cid = uint32(n)
	}
	if len(d.parentHint) > maxParentName {
		return nil, disk.Corruptf(formatName, "%s: name of the parent too long", errDescriptor)
	}
	return d, nil
}

// diskDataBase returns the lines of the disk data base, which say on what
// hardware the disk is.
func diskDataBase(text []byte) []string {
	var base []string
	for line := range lines(text) {
		if strings.HasPrefix(line, "ddb.") {
			base = append(base, line)
		}
	}
	return base
}

// parseFields returns the fields that matter here, without quotation marks.
// Where one is set twice, the first counts. All other lines are left out.
func parseFields(text []byte) map[string]string {
	fields := map[string]string{}
	for line := range lines(text) {
		key, value, _ := strings.Cut(line, "=")
		switch key = strings.TrimSpace(key); key {
		case "CID", "parentCID", "createType", "parentFileNameHint":
			if _, again := fields[key]; !again {
				fields[key] = unquote(strings.TrimSpace(value))
			}
		}
	}
	return fields
}

// lines returns the lines of a descriptor, which a NUL ends, without blanks
// around them.
func lines(text []byte) iter.Seq[string] {
	text, _, _ = bytes.Cut(text, []byte{0})
	return func(yield func(string) bool) {
		for line := range strings.Lines(string(text)) {
			if !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}

// unquote returns what stands between the first two quotation marks of s.
func unquote(s string) string {
	if s, ok := strings.CutPrefix(s, `"`); ok {
		s, _, _ = strings.Cut(s, `"`)
		return s
	}
	return s
}

// parseDescriptorFile reads a descriptor that is a file of its own, extents
// included.
func parseDescriptorFile(text []byte) (*descriptor, error) {
	switch kind := parseFields(text)["createType"]; {
	case kind == "":
		return nil, disk.Corruptf(formatName, errDescriptor)
	case !slices.Contains(fileTypes, kind):
		return nil, disk.Unsupportedf(formatName, "Unsupported image type '%s'", kind)
	}
	d, err := parseDescriptor(text)
	if err != nil {
		return nil, err
	}
	var total int64
	for line := range lines(text) {
		e, ok, err := parseExtent(line)
		if err != nil {
			return nil, err
		}
		if !ok || e.sectors == 0 {
			continue
		}
		if e.sectors > maxSectors-total || e.offset > maxSectors-e.sectors {
			return nil, disk.Corruptf(formatName, errSectors)
		}
		total += e.sectors
		d.extents = append(d.extents, e)
		if len(d.extents) > maxExtents {
			return nil, disk.Unsupportedf(formatName, "more than %d extents", maxExtents)
		}
	}
	if len(d.extents) == 0 {
		return nil, disk.Corruptf(formatName, "%s: no extents", errDescriptor)
	}
	return d, nil
}

// parseExtent reads a line of the extent description:
//
//	ACCESS SECTORS TYPE ["NAME" [OFFSET]]
//
// ok is false for every other line.
func parseExtent(line string) (e extentLine, ok bool, err error) {
	access, rest := word(line)
	if access != "RW" && access != "RDONLY" && access != "NOACCESS" {
		return e, false, nil
	}
	sectors, rest := word(rest)
	e.kind, rest = word(rest)
	invalid := disk.Corruptf(formatName, "Invalid extent line: %s", line)
	if e.sectors, err = strconv.ParseInt(sectors, 10, 64); err != nil || e.sectors < 0 {
		return e, false, invalid
	}
	if access == "NOACCESS" {
		return e, false, disk.Unsupportedf(formatName, "Unsupported extent access 'NOACCESS'")
	}
	if e.kind == kindZero {
		return e, true, nil
	}
	quoted, after, closed := strings.Cut(strings.TrimPrefix(rest, `"`), `"`)
	if !strings.HasPrefix(rest, `"`) || !closed || quoted == "" || len(quoted) > maxExtentName {
		return e, false, invalid
	}
	e.name = quoted
	offset, _ := word(after)
	n, noOffset := strconv.ParseInt(offset, 10, 64)
	switch e.kind {
	case kindFlat:
		if noOffset != nil || n < 0 {
			return e, false, invalid
		}
		e.offset = n
	case kindVMFS, kindSparse, kindVMFSSparse, kindSESparse:
		if noOffset == nil {
			return e, false, invalid
		}
	default:
		return e, false, disk.Unsupportedf(formatName, "Unsupported extent type '%s'", e.kind)
	}
	return e, true, nil
}

// word returns the first word of s and, without leading blanks, what follows.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	if k := strings.IndexAny(s, " \t"); k >= 0 {
		return s[:k], strings.TrimLeft(s[k:], " \t")
	}
	return s, ""
}

// parent returns the reference to the parent.
func (d *descriptor) parent() (r disk.Reference, ok bool) {
	if d.parentHint == "" {
		return r, false
	}
	names := []string{d.parentHint}
	if strings.Contains(d.parentHint, `\`) {
		names = winpath.Candidates(d.parentHint)
	}
	return disk.Reference{Kind: disk.BackingFile, Names: names, Format: formatName, Identity: identity(d.parentCID)}, true
}

func identity(cid uint32) string { return fmt.Sprintf("%08x", cid) }

// probe does what QEMU does: it takes for a VMDK what begins with the magic
// number of a sparse extent, and a text whose first line that is neither blank
// nor a comment is a version from 1 to 3.
func probe(head []byte) int {
	if bytes.HasPrefix(head, []byte(magicHosted)) || bytes.HasPrefix(head, []byte(magicESX)) {
		return 100
	}
	for len(head) > 0 {
		line, rest, ended := bytes.Cut(head, []byte("\n"))
		switch text := bytes.TrimSuffix(line, []byte("\r")); {
		case !ended:
			return 0
		case bytes.HasPrefix(line, []byte("#")):
		case len(text) > 0 && len(bytes.Trim(text, " ")) == 0:
		case string(text) == "version=1" || string(text) == "version=2" || string(text) == "version=3":
			return 100
		default:
			return 0
		}
		head = rest
	}
	return 0
}
