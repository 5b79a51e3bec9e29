package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"instar/host/chain"
	"instar/host/output"
	"instar/internal/safetext"
	"instar/job"
)

// rewrite has an image that is there (-n) be written into: laid out anew, as it
// was created and on the backing file that it has, with the inputs and behind
// them what it has itself. A file is replaced when that is complete; a device is
// written in place, and so are formats that have content in fixed places. The
// chain returned, the old image, is to be closed.
func (c *copying) rewrite(ctx context.Context) (*chain.Chain, error) {
	i := image{path: c.name, given: c.given()}
	if c.target != nil {
		i.secret = c.target.secret
	}
	i.format = string(c.format)
	old, err := chain.Discover(ctx, c.worker, c.name, c.rewriteOptions(i))
	if err != nil {
		if c.target != nil {
			err = c.target.rename(err)
		}
		return nil, err
	}
	if err := c.writeAs(i, old); err != nil {
		old.Close()
		return nil, err
	}
	return old, nil
}

// rewriteOptions have the old image be read without a lock: the output has the
// writer's by then.
func (c *copying) rewriteOptions(i image) chain.Options {
	o := c.chainOptions(i, "")
	o.ForceShare = true
	return o
}

// writeAs has the output be as the old image is.
func (c *copying) writeAs(i image, old *chain.Chain) error {
	top := old.Top().Inspection
	if err := i.readable(old); err != nil && top.Encrypted {
		return err
	}
	if err := c.fits(top.VirtualSize, isVersion2(top)); err != nil {
		return err
	}
	if c.execution.Output.Bitmaps && top.VirtualSize != c.size {
		return fmt.Errorf("Failed to populate bitmap %s: Bitmaps are of different sizes (destination size is %d, source size is %d) and can't be merged",
			safetext.Escape(c.bitmap), top.VirtualSize, c.size)
	}
	layer := old.Input().Layers[0]
	layer.Secret = bytes.Clone(layer.Secret)
	c.execution.Output.Old = &layer
	if top.Encrypted {
		c.execution.Output.Secret = bytes.Clone(layer.Secret)
	}
	if c.format == job.LUKS {
		return c.refill(old)
	}
	if err := c.layOutAs(old); err != nil {
		return fmt.Errorf("%s: cannot be written into as it is: %w", safetext.Escape(c.given()), err)
	}
	return nil
}

// refill has content be written over that of an old image, whose other bytes
// stay, up to the end of a sector of any size.
func (c *copying) refill(old *chain.Chain) error {
	length, err := old.Top().File.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("%s: find its length: %w", safetext.Escape(c.given()), err)
	}
	end := old.Size()
	if whole := (c.size + maxSector - 1) / maxSector * maxSector; whole < end {
		end = whole
	}
	c.extend(old, end)
	c.extra = length
	return nil
}

// maxSector is the greatest length of a sector that is encrypted as one.
const maxSector = 4096

// extend has what the old image has up to an offset follow the inputs.
func (c *copying) extend(old *chain.Chain, end int64) {
	if start := (c.size + 511) &^ 511; start < end {
		tail := old.Input()
		tail.Start = start
		c.execution.Inputs = append(c.execution.Inputs, tail)
	}
	c.size = end
}

// layOutAs has the output be laid out anew. The error says what cannot be made
// again.
func (c *copying) layOutAs(old *chain.Chain) error {
	top := old.Top().Inspection
	o := &c.execution.Output
	var err error
	if o.Options, err = creationOptions(top); err != nil {
		return err
	}
	if old.Top().Device() && top.VirtualSize > c.size {
		return errors.New("it is on a device, and larger than the input")
	}
	if err := c.sameFiles(top); err != nil {
		return err
	}
	for k := range c.execution.Inputs {
		c.execution.Inputs[k].Solid = true
	}
	for _, r := range top.References {
		if r.Kind == job.BackingFile {
			o.Parent = r.Identity
		}
	}
	if len(old.Layers) > 1 {
		c.below = old.Below()
		below := c.below.Input()
		c.execution.Overlay, c.execution.Below = true, &below
	}
	c.extend(old, top.VirtualSize)
	c.options, c.rewriting = output.Options{Size: 1}, true
	return nil
}

// sameFiles checks that an image consists of the files that a new one would.
func (c *copying) sameFiles(i *job.Inspection) error {
	files, err := job.ExtraFiles(c.format, c.execution.Output.Options, c.name, i.VirtualSize)
	if err != nil {
		return err
	}
	var names, had []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	for _, r := range i.References {
		if r.Kind != job.BackingFile {
			had = append(had, r.Names[0])
		}
	}
	if !slices.Equal(names, had) {
		return errors.New("its files are named otherwise than those of a new image")
	}
	return nil
}

// layoutOptions are the options that an image may be found to be created by. No
// other that the worker says is taken.
var layoutOptions = map[string]bool{
	"block_size": true, "cluster_size": true, "compat": true, "compression_type": true, "encrypt.format": true, "extended_l2": true,
	"force_size": true, "lazy_refcounts": true, "log_size": true, "refcount_bits": true, "static": true, "subformat": true, "table_size": true,
}

// creationOptions returns the options that an image was created with. The error
// says what cannot be made again.
func creationOptions(i *job.Inspection) (map[string]string, error) {
	if i.Lost != "" {
		return nil, errors.New(safetext.Escape(i.Lost))
	}
	values := map[string]string{}
	for name, value := range i.Options {
		if !layoutOptions[name] {
			return nil, fmt.Errorf("the option '%s' is none of a layout", safetext.Escape(name))
		}
		values[name] = value
	}
	for _, r := range i.References {
		if r.Kind != job.BackingFile {
			continue
		}
		values["backing_file"] = r.Names[0]
		if r.Format != "" {
			values["backing_fmt"] = r.Format
		}
	}
	return values, nil
}
