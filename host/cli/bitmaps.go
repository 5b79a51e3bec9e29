package cli

import (
	"errors"
	"fmt"
	"math"

	"instar/host/chain"
	"instar/internal/safetext"
	"instar/job"
)

// setBitmaps has the bitmaps of the input copied, if that is asked for and can
// be done. Those that are broken are told of once the copy is complete.
func (c *copying) setBitmaps(o *convertOptions, chains []*chain.Chain) error {
	if !o.bitmaps {
		return nil
	}
	if len(chains) > 1 {
		return errors.New("Copying bitmaps only possible with single source")
	}
	in := chains[0]
	if i := in.Top().Inspection; i.Format != string(job.QCOW2) || isVersion2(i) {
		return errors.New("Source lacks bitmap support")
	}
	for _, b := range bitmapsOf(in.Top().Inspection) {
		if b.broken && !o.skipBad {
			return &hintError{
				text: fmt.Sprintf("Cannot copy inconsistent bitmap '%s'", safetext.Escape(b.name)),
				more: "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it\n",
			}
		}
		if b.broken {
			c.skipped = append(c.skipped, b.name)
			continue
		}
		if !c.execution.Output.Bitmaps {
			c.bitmap = b.name
		}
		c.execution.Output.Bitmaps = true
		// Its bits, the table of their clusters, and clusters that are not full.
		c.extra += 2*(in.Size()/b.granularity/8) + bitmapOverhead
	}
	return nil
}

// canHaveBitmaps says that the output, which may be a qcow2 image of version 2, cannot
// have bitmaps, if it is to have some.
func (c *copying) canHaveBitmaps(asked, version2 bool) error {
	if asked && (c.format != job.QCOW2 || version2) {
		return fmt.Errorf("Format driver '%s' does not support bitmaps", c.format)
	}
	return nil
}

// isVersion2 reports whether a qcow2 image is of a version that cannot have
// bitmaps.
func isVersion2(i *job.Inspection) bool {
	for _, d := range i.Details {
		if d.Key == "compat" && d.Text != nil {
			return *d.Text == "0.10"
		}
	}
	return false
}

// bitmapOverhead is what a bitmap takes at most besides its bits, in bytes.
const bitmapOverhead = 16 << 20

// A bitmap is one that an image says it has.
type bitmap struct {
	name        string
	granularity int64
	broken      bool
}

// bitmapsOf returns the persistent bitmaps that an inspection lists. The worker's
// numbers are taken within bounds.
func bitmapsOf(i *job.Inspection) []bitmap {
	var list []bitmap
	for _, d := range i.Details {
		if d.Key != "bitmaps" {
			continue
		}
		for _, item := range d.List {
			list = append(list, bitmapOf(item.Object))
		}
	}
	return list
}

func bitmapOf(fields []job.Detail) bitmap {
	b := bitmap{granularity: 512}
	for _, f := range fields {
		switch {
		case f.Key == "name" && f.Text != nil:
			b.name = *f.Text
		case f.Key == "granularity" && f.Number != nil:
			b.granularity = max(*f.Number, 512)
		case f.Key == "flags":
			for _, flag := range f.List {
				b.broken = b.broken || flag.Text != nil && *flag.Text == "in-use"
			}
		}
	}
	return b
}

// tellSkipped tells of the bitmaps that were not copied.
func (c *copying) tellSkipped() {
	for _, name := range c.skipped {
		c.say(fmt.Sprintf("warning: Skipping inconsistent bitmap '%s'", safetext.Escape(name)))
	}
}

// ceiling is how long the output may become, in bytes.
func (c *copying) ceiling() int64 {
	n := job.OutputCapacity(c.format, c.size)
	return n + min(c.extra, math.MaxInt64-n)
}
