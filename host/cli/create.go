package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"instar/host/chain"
	"instar/host/localfile"
	"instar/internal/imageopts"
	"instar/internal/keyval"
	"instar/internal/qemunum"
	"instar/internal/safetext"
	"instar/job"
)

// createOptions are the flags of create.
type createOptions struct {
	settings
	format        string
	options       optionsValue
	backing       stringValue
	backFmt       stringValue
	unsafe, quiet bool
	fixed         reproducible
	name          string
	size          int64 // bytes; -1 when it was not given
}

// stringValue is a flag whose being given counts, also if it is empty.
type stringValue struct {
	s   string
	set bool
}

func (v *stringValue) Set(s string) error { v.s, v.set = s, true; return nil }
func (v *stringValue) String() string     { return v.s }
func (v *stringValue) Type() string       { return "name" }

func (p *program) createCommand() *cobra.Command {
	o := &createOptions{}
	c := &cobra.Command{
		Use:   "create [OPTIONS] FILE [SIZE]",
		Short: "create an empty disk image",
		Long: `Create the image FILE of SIZE bytes, as qemu-img create does. SIZE may have a
suffix: k, M, G, T, P or E. With a backing file (-b) it may be left out: the
image is as large as that one. The name of the backing file counts from the
folder of FILE.

What stood under the name of the image is replaced when it is complete.`,
		Example: `  instar create -f qcow2 disk.qcow2 20G
  instar create -f qcow2 -o cluster_size=2M,preallocation=metadata disk.qcow2 20G
  instar create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2`,
	}
	f := c.Flags()
	f.StringVarP(&o.format, "format", "f", "raw", "format of the image")
	f.VarP(&o.options, "options", "o", "options of the format: NAME=VALUE,… (help lists them; repeatable)")
	f.VarP(&o.backing, "backing", "b", "backing file of the image")
	f.VarP(&o.backFmt, "backing-format", "F", "format of the backing file")
	f.BoolVarP(&o.unsafe, "backing-unsafe", "u", false, "do not open the backing file")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print what is created")
	o.fixed.add(f)
	o.settings.addShared(f)
	return p.own(c, func(ctx context.Context, args []string) error { return p.create(ctx, o, args) })
}

func (p *program) create(ctx context.Context, o *createOptions, args []string) error {
	if keyval.AsksForHelp(o.options.list) {
		return optionHelp(o.format, len(args) > 0)
	}
	if len(args) == 0 {
		return &usageError{"Expecting image file name"}
	}
	o.name, o.size = args[0], -1
	if len(args) > 1 {
		var err error
		if o.size, err = qemunum.ParseBetween("image size", args[1], 0, math.MaxInt64); err != nil {
			return err
		}
	}
	if len(args) > 2 {
		return &usageError{"Unexpected argument: " + safetext.Escape(args[2])}
	}
	r, err := p.runner(&o.settings)
	if err != nil {
		return err
	}
	w, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer r.finish(w)
	c := &copying{runner: r, worker: w, name: o.name, fixed: o.fixed, progress: r.newProgress(progressValue{}, true)}
	defer func() { closeAll(c.opened) }() // the backing file, if there is one
	c.texts.write = func(int64) string { return "error while writing" }
	c.texts.read = c.texts.write // nothing is read
	err = c.newImage(ctx, o)
	if err == nil {
		err = c.run(ctx)
	}
	return prefixed(o.name, err)
}

// prefixed puts the name of the image before what is wrong with it.
func prefixed(name string, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	var h hinter
	if errors.As(err, &h) {
		hint = h.hint()
	}
	return &hintError{text: safetext.Escape(name) + ": " + err.Error(), more: hint, err: err}
}

// newImage says what the image is to be like, in the order of qemu-img's checks.
func (c *copying) newImage(ctx context.Context, o *createOptions) error {
	unknown := fmt.Errorf("Unknown file format '%s'", safetext.Escape(o.format))
	if err := c.chooseFormat(o.format, false, unknown); err != nil {
		return err
	}
	if err := c.parseOptions(o.options.list); err != nil {
		return err
	}
	c.size = o.size
	if _, given := c.values.Get("size"); given {
		if o.size >= 0 {
			return errors.New("The image size must be specified only once")
		}
		n := c.values.Number("size")
		if n > math.MaxInt64 {
			return errors.New("Image size must be less than 8 EiB!")
		}
		c.size = int64(n)
	}
	if err := c.setBacking(o.backing, o.backFmt); err != nil {
		return err
	}
	if err := c.sizeFromBacking(ctx, o); err != nil {
		return err
	}
	if c.size < 0 {
		return errors.New("Image creation needs a size parameter")
	}
	if !o.quiet {
		if err := c.announce(o.format); err != nil {
			return err
		}
	}
	if c.size > maxSize {
		if c.format == job.Raw {
			return errors.New("Could not resize file: Invalid argument")
		}
		return errors.New("Could not resize image: Image size cannot be negative")
	}
	if err := c.values.CheckFile(); err != nil {
		return err
	}
	c.options.Size = c.least(c.size)
	c.execution.OutputSize = &c.size
	c.execution.SkipZeros = true
	c.execution.Output.Format = c.format
	return c.useOptions()
}

// announce prints what is about to be created.
func (c *copying) announce(format string) error {
	if err := c.values.Set("size", fmt.Sprint(c.size)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "Formatting '%s', fmt=%s%s\n", safetext.Escape(c.name), format, c.values)
	return err
}

// setBacking has the flags of the backing file count more than the options.
func (c *copying) setBacking(name, format stringValue) error {
	if err := c.noBacking(name.set, format.set); err != nil {
		return err
	}
	if name.set {
		if err := c.values.Set("backing_file", name.s); err != nil {
			return err
		}
	}
	if format.set {
		return c.values.Set("backing_fmt", format.s)
	}
	return nil
}

// sizeFromBacking opens the backing file, if there is one, and has it give the
// image its size if nothing else did.
func (c *copying) sizeFromBacking(ctx context.Context, o *createOptions) error {
	name, backed := c.values.Get("backing_file")
	format, formatted := c.values.Get("backing_fmt")
	switch {
	case !backed:
		return nil
	case name == c.name:
		return errors.New("Error: Trying to create an image with the same filename as the backing file")
	case name == "":
		return errNoBackingName
	case o.unsafe && !formatted:
		return errors.New("Backing file specified without backing format")
	}
	c.execution.Overlay = true
	if o.unsafe {
		return nil
	}
	in, err := c.openBacking(ctx, name, formatValue{name: format, given: formatted}, false)
	if err != nil {
		return &hintError{text: err.Error(), more: "Could not open backing image.\n"}
	}
	c.opened = append(c.opened, in)
	if !formatted {
		return &hintError{
			text: "Backing file specified without backing format",
			more: fmt.Sprintf("Detected format of %s.", in.Top().Inspection.Format),
		}
	}
	if err := c.refuseInput(c.name); err != nil {
		return err
	}
	if c.size < 0 {
		c.size = in.Size()
	}
	return nil
}

var errNoBackingName = errors.New("Expected backing file name, got empty string")

// openBacking opens the backing file of the output, whose name counts from the
// folder of the output. Its content need not be readable unless it is to be read.
func (c *copying) openBacking(ctx context.Context, name string, format formatValue, read bool) (*chain.Chain, error) {
	if _, ok := localfile.Protocol(name); !ok && !filepath.IsAbs(name) {
		if k := strings.LastIndexByte(c.name, '/'); k >= 0 {
			name = c.name[:k+1] + name
		}
	}
	if strings.HasPrefix(name, jsonPrefix) { // which no image may name
		_, err := localfile.Path(name)
		return nil, err
	}
	s := *c.settings
	s.format, s.imageOpts = format, false
	i, err := s.image(name)
	if err != nil {
		return nil, unframe(name, err)
	}
	var in *chain.Chain
	if read {
		in, err = c.discover(ctx, c.worker, i, "")
	} else {
		in, err = chain.Discover(ctx, c.worker, i.path, c.chainOptions(i, ""))
	}
	if err != nil {
		return nil, unframe(name, err)
	}
	if err := i.readable(in); err != nil && read {
		in.Close()
		return nil, unframe(name, err)
	}
	c.execution.Output.Parent = in.Top().Inspection.Identity
	return in, nil
}

// unframe takes the frame from around why an image cannot be opened.
func unframe(name string, err error) error {
	why, _ := strings.CutPrefix(err.Error(), couldNotOpen(name, "").Error())
	return errors.New(why)
}

// A hinter is an error with lines to print behind it.
type hinter interface{ hint() string }

// A hintError is a text with lines to print behind it.
type hintError struct {
	text, more string
	err        error // what it is about; nil is nothing else
}

func (e *hintError) Error() string { return e.text }
func (e *hintError) Unwrap() error { return e.err }
func (e *hintError) hint() string  { return e.more }

// A furtherError is a text with another one that is said behind it.
type furtherError struct{ text, further string }

func (e *furtherError) Error() string { return e.text }

// parameterHint has an error about an option be one with a hint.
func parameterHint(err error) error {
	var p *imageopts.ParameterError
	if errors.As(err, &p) {
		return &hintError{text: p.Text, more: p.Hint}
	}
	return err
}
