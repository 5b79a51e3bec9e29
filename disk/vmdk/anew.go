package vmdk

import (
	"fmt"
	"strings"

	"instar/disk"
)

// lost returns what of the image a new one of its type would not have. Extents
// whose files are not open are not looked into.
func (i *image) lost(d *descriptor) string {
	embedded, kind, split := false, kindSparse, false
	switch d.createType {
	case monolithicSparse, streamOptimized:
		embedded = true
	case monolithicFlat:
		kind = kindFlat
	case splitSparse:
		split = true
	case splitFlat:
		kind, split = kindFlat, true
	default:
		return "it is of the type " + d.createType
	}
	if strings.Contains(d.parentHint, `\`) {
		return "its parent is named as on Windows"
	}
	for k := range i.extents {
		x := &i.extents[k]
		last := k == len(i.extents)-1
		switch {
		case !embedded && (x.line.kind != kind || x.line.offset != 0), !last && !split,
			split && x.size > splitSize, split && !last && x.size != splitSize:
			return "its extents are others than those of a new image"
		case x.sparse != nil && (x.sparse.grain != grainSize || x.sparse.perTable != tableEntries):
			return fmt.Sprintf("it has grains of %d bytes, %d to a table", x.sparse.grain, x.sparse.perTable)
		}
	}
	return ""
}

// keep has the new image be on the hardware that the old one is on, and have
// grains of zeros if that may.
func (i *newImage) keep(old *image) error {
	if old.info.Lost != "" {
		return disk.Unsupportedf(formatName, "%s", old.info.Lost)
	}
	i.base = old.base
	if s := old.extents[0].sparse; s != nil {
		i.zeroGrains = s.zeroGrains
	}
	return nil
}
