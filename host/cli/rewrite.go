package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"instar/host/chain"
	"instar/host/output"
	"instar/internal/safetext"
	"instar/job"
)

// rewritten are the formats of which an image that is there can be laid out
// anew.
var rewritten = map[job.OutputFormat]bool{job.QCOW2: true, job.VPC: true, job.VHDX: true}

// rewrite has an image that is there (-n) be laid out anew, as it was created
// and on the backing file that it has: the inputs, and behind them what it has
// itself. A file is replaced when that is complete; a device is written in place.
// The chain returned, the old image, is to be closed.
func (c *copying) rewrite(ctx context.Context) (*chain.Chain, error) {
	i := image{path: c.name, given: c.given()}
	i.format = string(c.format)
	old, err := chain.Discover(ctx, c.worker, c.name, c.rewriteOptions(i))
	if err != nil {
		if c.target != nil {
			err = c.target.rename(err)
		}
		return nil, err
	}
	if err := c.layOutAs(old); err != nil {
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

// layOutAs has the output be as the old image is.
func (c *copying) layOutAs(old *chain.Chain) error {
	top := old.Top().Inspection
	if top.VirtualSize < c.size {
		return errors.New("output file is smaller than input file")
	}
	values, err := creationOptions(top)
	if err != nil {
		return fmt.Errorf("%s: cannot be written into as it is: %w", safetext.Escape(c.given()), err)
	}
	o := &c.execution.Output
	o.Options = values
	if old.Top().Device() && top.VirtualSize > c.size {
		return fmt.Errorf("%s: an image on a device is not written into where it is larger than the input", safetext.Escape(c.given()))
	}
	for k := range c.execution.Inputs {
		c.execution.Inputs[k].Solid = true
	}
	if len(old.Layers) > 1 {
		c.below = old.Below()
		below := c.below.Input()
		c.execution.Overlay, c.execution.Below = true, &below
	}
	if top.VirtualSize > c.size {
		tail := old.Input()
		tail.Start = (c.size + 511) &^ 511
		c.execution.Inputs = append(c.execution.Inputs, tail)
	}
	c.size = top.VirtualSize
	c.options, c.rewriting = output.Options{Size: 1}, true
	return nil
}

// creationOptions returns the options that an image was created with. The error
// says what cannot be made again.
func creationOptions(i *job.Inspection) (map[string]string, error) {
	switch {
	case i.Format == string(job.VPC), i.Format == string(job.VHDX):
		return vhdOptions(i)
	case i.Format != string(job.QCOW2):
		return nil, fmt.Errorf("-n is not supported for %s images", i.Format)
	case i.Encrypted:
		return nil, errors.New("it is encrypted")
	case len(i.Snapshots) > 0:
		return nil, errors.New("it has internal snapshots")
	}
	values := map[string]string{"cluster_size": strconv.FormatInt(i.ClusterSize, 10)}
	for _, d := range i.Details {
		switch d.Key {
		case "bitmaps":
			return nil, errors.New("it has persistent bitmaps")
		case "data-file", "data-file-raw":
			return nil, errors.New("it has an external data file")
		case "compat", "compression-type", "lazy-refcounts", "refcount-bits", "extended-l2":
			name := map[string]string{
				"compat": "compat", "compression-type": "compression_type", "lazy-refcounts": "lazy_refcounts",
				"refcount-bits": "refcount_bits", "extended-l2": "extended_l2",
			}[d.Key]
			values[name] = optionValue(d)
		}
	}
	for _, r := range i.References {
		if r.Kind == "backing file" && len(r.Names) > 0 {
			values["backing_file"] = r.Names[0]
			if r.Format != "" {
				values["backing_fmt"] = r.Format
			}
		}
	}
	return values, nil
}

// vhdOptions are creationOptions of a VHD or VHDX.
func vhdOptions(i *job.Inspection) (map[string]string, error) {
	switch {
	case len(i.References) > 0:
		return nil, errors.New("it is a differencing disk")
	case i.Format == string(job.VHDX):
		return map[string]string{"block_size": strconv.FormatInt(i.ClusterSize, 10)}, nil
	case i.ClusterSize == 0:
		return map[string]string{"force_size": "on", "subformat": "fixed"}, nil
	}
	return map[string]string{"force_size": "on"}, nil // the size is what a geometry made of it
}

func optionValue(d job.Detail) string {
	switch {
	case d.Text != nil:
		return *d.Text
	case d.Number != nil:
		return strconv.FormatInt(*d.Number, 10)
	case d.Flag != nil && *d.Flag:
		return "on"
	}
	return "off"
}
