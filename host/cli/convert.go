package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"instar/host/chain"
	"instar/host/output"
	"instar/internal/qemunum"
	"instar/internal/safetext"
	"instar/job"
)

// convertOptions are the flags of convert. Those that make no difference here
// are taken, checked and left: copies are always made out of order, in parallel
// and by the kernel where it can.
type convertOptions struct {
	settings
	show             progressValue
	quiet            bool
	input, output    string
	options          []string
	snapshot         string
	sparse           sparseValue
	cache, srcCache  string
	parallel         parallelValue
	rate             sizeValue
	compress         bool
	offload, oob     bool
	noCreate         bool
	zero             bool
	salvage          bool
	targetImageOpts  bool
	bitmaps, skipBad bool
	backing, backFmt string
}

func (p *program) convertCommand() *cobra.Command {
	o := &convertOptions{}
	c := &cobra.Command{
		Use:   "convert [OPTIONS] IN... OUT",
		Short: "convert a disk image to another format",
		Long: `Copy the content of the image IN into the image OUT, as qemu-img convert does.
Several inputs follow one another in the output.

Runs of zeros take no space in the output; see -S. What stood under the name of
the output is replaced when the copy is complete, and not before.`,
		Example: `  instar convert -O raw disk.qcow2 disk.raw
  instar convert -f qcow2 -O raw -S 0 disk.qcow2 disk.raw
  instar convert -n -O raw disk.qcow2 /dev/vg/disk`,
	}
	f := c.Flags()
	f.StringVarP(&o.input, "source-format", "f", "", "format of the inputs (default: detected)")
	f.StringVarP(&o.output, "target-format", "O", "raw", "format of the output")
	f.StringArrayVarP(&o.options, "target-format-options", "o", nil, "options of the output's format, as NAME=VALUE[,…] (help lists them)")
	f.StringVarP(&o.snapshot, "snapshot", "l", "", "convert this internal snapshot: NAME, ID, snapshot.id=ID or snapshot.name=NAME")
	f.VarP(&o.sparse, "sparse-size", "S", "length from which a run of zeros takes no space (default 4k; 0: all space is allocated)")
	f.BoolVarP(&o.compress, "compress", "c", false, "compress the output")
	f.BoolVarP(&o.noCreate, "no-create", "n", false, "write into the image or device that is there")
	f.BoolVar(&o.zero, "target-is-zero", false, "the output that is there reads as zeros (with -n)")
	f.StringVarP(&o.cache, "target-cache", "t", "unsafe", "cache mode of the output: none, writeback, unsafe, directsync or writethrough")
	f.StringVarP(&o.srcCache, "source-cache", "T", "writeback", "cache mode of the inputs")
	f.VarP(&o.parallel, "parallel", "m", "number of pieces in flight, 1 to 16")
	f.BoolVarP(&o.oob, "oob-writes", "W", false, "write out of order (always done)")
	f.BoolVarP(&o.offload, "copy-range-offloading", "C", false, "have the kernel copy (always done where it can)")
	o.rate = sizeValue{what: "rate limit", min: 0, max: maxSize}
	f.VarP(&o.rate, "rate-limit", "r", "bytes a second")
	f.BoolVar(&o.salvage, "salvage", false, "take what cannot be read for zeros")
	f.StringVarP(&o.backing, "backing", "B", "", "backing file of the output")
	f.StringVarP(&o.backFmt, "backing-format", "F", "", "format of the backing file")
	f.BoolVar(&o.bitmaps, "bitmaps", false, "copy bitmaps")
	f.BoolVar(&o.skipBad, "skip-broken-bitmaps", false, "leave broken bitmaps out")
	f.BoolVar(&o.targetImageOpts, "target-image-opts", false, "the output's name is options")
	o.show.add(f, &o.quiet)
	o.settings.add(f)
	return p.own(c, func(ctx context.Context, args []string) error { return p.convert(ctx, o, args) })
}

// sparseValue is the flag -S.
type sparseValue struct {
	n   int64
	set bool
}

const maxSparse = 16 << 20

func (v *sparseValue) Set(s string) error {
	n, err := qemunum.Parse(s)
	var text string
	switch {
	case errors.Is(err, qemunum.ErrSyntax):
		text = fmt.Sprintf("Invalid buffer size for sparse output specified: '%s'", safetext.Escape(s))
	case err != nil || n < 0 || n > maxSparse || n%512 != 0:
		text = fmt.Sprintf("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %d. "+
			"Select 0 to disable sparse detection (fully allocates output).", maxSparse)
	}
	if text != "" {
		return errors.New(text)
	}
	v.n, v.set = int64(n), true
	return nil
}
func (v *sparseValue) String() string { return "" }
func (v *sparseValue) Type() string   { return "size" }

// parallelValue is the flag -m.
type parallelValue struct{ n int64 }

func (v *parallelValue) Set(s string) error {
	n, err := qemunum.Parse(s)
	if err != nil || n < 1 || n > 16 {
		return errors.New("Invalid number of coroutines. Allowed number of coroutines is between 1 and 16") //nolint:staticcheck // qemu-img's text
	}
	v.n = int64(n)
	return nil
}
func (v *parallelValue) String() string { return "" }
func (v *parallelValue) Type() string   { return "n" }

// check finds what is wrong with the options by themselves, in the order in
// which qemu-img looks.
func (o *convertOptions) check() error {
	for _, wrong := range []struct {
		is   bool
		text string
	}{
		{o.skipBad && !o.bitmaps, "Use of --skip-broken-bitmaps requires --bitmaps"},
		{o.compress && o.offload, "Cannot enable copy offloading when -c is used"},
		{o.sparse.set && o.offload, "Cannot enable copy offloading when -S is used"},
		{o.offload && o.salvage, "Cannot use copy offloading in salvaging mode"},
		{o.targetImageOpts && !o.noCreate, "--target-image-opts requires use of -n flag"},
		{o.noCreate && len(o.options) > 0, "-o has no effect when skipping image creation"},
		{o.zero && !o.noCreate, "--target-is-zero requires use of -n flag"},
	} {
		if wrong.is {
			return errors.New(wrong.text)
		}
	}
	return nil
}

// later names an option that cannot be had yet.
func (o *convertOptions) later() error {
	for _, option := range []struct {
		is   bool
		name string
	}{
		{o.targetImageOpts, "--target-image-opts"},
		{o.rate.set, "-r"},
		{o.salvage, "--salvage"},
		{o.bitmaps, "--bitmaps"},
	} {
		if option.is {
			return fmt.Errorf("%s is not supported yet", option.name)
		}
	}
	return nil
}

var cacheModes = map[string]bool{
	"none": true, "off": true, "directsync": true, "writeback": true, "unsafe": true, "writethrough": true,
}

func (p *program) convert(ctx context.Context, o *convertOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if help, err := p.optionHelp(o); help || err != nil {
		return err
	}
	if len(args) < 2 {
		return errors.New("Must specify image file name") //nolint:staticcheck // qemu-img's text
	}
	if !cacheModes[o.srcCache] {
		return fmt.Errorf("Invalid source cache option: %s", safetext.Escape(o.srcCache)) //nolint:staticcheck // qemu-img's text
	}
	if err := o.later(); err != nil {
		return err
	}
	r, err := p.runner(&o.settings)
	if err != nil {
		return err
	}
	return r.convert(ctx, o, args[:len(args)-1], args[len(args)-1])
}

func (r *runner) convert(ctx context.Context, o *convertOptions, inputs []string, out string) error {
	w, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer r.finish(w)
	c := &copying{runner: r, worker: w, name: out, progress: r.newProgress(o.show, o.quiet)}
	c.texts = texts{
		create: "error while converting " + safetext.Escape(o.output),
		read:   func(off int64) string { return fmt.Sprintf("error while reading at byte %d", off) },
		write:  func(off int64) string { return fmt.Sprintf("error while writing at byte %d", off) },
	}
	chains, err := c.inputs(ctx, inputs, r.chainOptions(o.input, snapshotName(o.snapshot)))
	if err != nil {
		return err
	}
	defer closeAll(chains)
	if err := c.prepare(o, chains); err != nil {
		return err
	}
	c.progress.onSignal(ctx, r.stderr)
	return c.run(ctx)
}

// prepare says what the output is to be like.
func (c *copying) prepare(o *convertOptions, chains []*chain.Chain) error {
	var err error
	c.format, err = outputFormat(o.output, func(name string) string { return fmt.Sprintf("Unknown file format '%s'", name) })
	if err != nil {
		return err
	}
	options, err := parseFormatOptions(o.options)
	if err != nil {
		return err
	}
	switch {
	case o.backing != "" || o.backFmt != "":
		return fmt.Errorf("Backing file not supported for file format '%s'", c.format) //nolint:staticcheck // qemu-img's text
	case o.compress:
		return errors.New("Compression not supported for this file format") //nolint:staticcheck // qemu-img's text
	}
	allocate, err := rawOptions(options)
	var parameter *parameterError
	if errors.As(err, &parameter) {
		return err
	}
	if err != nil {
		return c.createError(err.Error())
	}
	for _, in := range chains {
		if in.Size() > maxSize-c.size {
			return errors.New("the images are too large together")
		}
		c.size += in.Size()
	}
	if err := c.refuseSame(chains); err != nil {
		return err
	}
	c.options = output.Options{NoCreate: o.noCreate, Size: c.size}
	c.execution.OutputSize = &c.size
	c.execution.SkipZeros = (!o.sparse.set || o.sparse.n > 0) && !allocate
	c.execution.SparseSize = o.sparse.n
	c.execution.Sync = o.cache != "unsafe"
	c.execution.Workers = int(o.parallel.n)
	c.execution.Output.Format = c.format
	c.execution.Output.Zeroed = o.zero
	c.created = func(f *output.File) error {
		if !cacheModes[o.cache] {
			return fmt.Errorf("Invalid cache option: %s", safetext.Escape(o.cache)) //nolint:staticcheck // qemu-img's text
		}
		if o.noCreate && f.Size() < c.size {
			return errors.New("output file is smaller than input file")
		}
		return nil
	}
	return nil
}

// snapshotName reads the value of -l.
func snapshotName(s string) string {
	for _, key := range []string{"snapshot.id=", "snapshot.name="} {
		if name, ok := strings.CutPrefix(s, key); ok {
			return name
		}
	}
	return s
}

// A formatOption is one NAME=VALUE of -o.
type formatOption struct{ name, value string }

// parseFormatOptions splits the values of -o at commas, of which two are one in
// a value.
func parseFormatOptions(args []string) ([]formatOption, error) {
	var options []formatOption
	for _, arg := range args {
		for _, part := range splitOptions(arg) {
			if part == "" {
				continue
			}
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				value = "on"
			}
			options = append(options, formatOption{name, value})
		}
	}
	return options, nil
}

func splitOptions(s string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			part.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == ',':
			part.WriteByte(',')
			i++
		default:
			parts = append(parts, part.String())
			part.Reset()
		}
	}
	return append(parts, part.String())
}

// rawOptions checks the options of a raw output and reports whether all of its
// space is to be allocated.
func rawOptions(options []formatOption) (allocate bool, err error) {
	for _, o := range options {
		switch o.name {
		case "size", "nocow", "extent_size_hint": // the source's size counts; hints
		case "preallocation":
			switch o.value {
			case "off":
				allocate = false
			case "falloc", "full":
				allocate = true
			case "metadata":
				return false, errors.New("Unsupported preallocation mode: metadata") //nolint:staticcheck // qemu-img's text
			default:
				return false, fmt.Errorf("invalid parameter value: %s", safetext.Escape(o.value))
			}
		default:
			return false, &parameterError{o.name}
		}
	}
	return allocate, nil
}

// A parameterError says that a format has no option of that name.
type parameterError struct{ name string }

func (e *parameterError) Error() string { return "Invalid parameter '" + safetext.Escape(e.name) + "'" }

// optionHelp lists the options of the output's format if -o asks for that.
func (p *program) optionHelp(o *convertOptions) (bool, error) {
	for _, arg := range o.options {
		for _, part := range splitOptions(arg) {
			if part != "help" && part != "?" {
				continue
			}
			if o.output != string(job.Raw) {
				_, err := outputFormat(o.output, func(name string) string { return fmt.Sprintf("Unknown file format '%s'", name) })
				return true, err
			}
			_, err := fmt.Fprint(p.stdout, `Supported options:
  extent_size_hint=<size> - Extent size hint for the image file, 0 to disable
  nocow=<bool (on/off)>  - Turn off copy-on-write (valid only on btrfs)
  preallocation=<str>    - Preallocation mode (allowed values: off, falloc, full)
  size=<size>            - Virtual disk size
`)
			return true, err
		}
	}
	return false, nil
}
