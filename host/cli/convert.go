package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/spf13/cobra"

	"instar/host/chain"
	"instar/host/localfile"
	"instar/host/output"
	"instar/internal/imageopts"
	"instar/internal/keyval"
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
	fixed            reproducible
	integrity        integrity
	output           stringValue
	options          optionsValue
	snapshot         snapshotValue
	sparse           sparseValue
	cache, srcCache  string
	parallel         parallelValue
	rate             sizeValue
	compress         bool
	level            levelValue
	offload, oob     bool
	noCreate         bool
	zero             bool
	salvage          bool
	targetImageOpts  bool
	bitmaps, skipBad bool
	backing, backFmt stringValue
}

func (p *program) convertCommand() *cobra.Command {
	o := &convertOptions{output: stringValue{s: "raw"}}
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
	f.VarP(&o.output, "target-format", "O", "format of the output")
	f.VarP(&o.options, "target-format-options", "o", "options of the output's format: NAME=VALUE,… (help lists them; repeatable)")
	f.VarP(&o.snapshot, "snapshot", "l", "convert this internal snapshot: NAME, ID, snapshot.id=ID or snapshot.name=NAME")
	f.VarP(&o.sparse, "sparse-size", "S", "length from which a run of zeros takes no space (default 4k; 0: all space is allocated)")
	f.BoolVarP(&o.compress, "compress", "c", false, "compress the output")
	f.Var(&o.level, "compression-level", "what counts in a compressed output: fast (default), or best for a small one")
	f.BoolVarP(&o.noCreate, "no-create", "n", false, "write into the image or device that is there")
	f.BoolVar(&o.zero, "target-is-zero", false, "the output that is there reads as zeros (with -n)")
	f.StringVarP(&o.cache, "target-cache", "t", "unsafe", "cache mode of the output: none, writeback, unsafe, directsync or writethrough")
	f.StringVarP(&o.srcCache, "source-cache", "T", "writeback", "cache mode of the inputs")
	f.VarP(&o.parallel, "parallel", "m", "number of pieces in flight, 1 to 16")
	f.BoolVarP(&o.oob, "oob-writes", "W", false, "write out of order (always done)")
	f.BoolVarP(&o.offload, "copy-range-offloading", "C", false, "have the kernel copy what is stored, without a look for zeros in it")
	o.rate = sizeValue{what: "rate limit", min: 0, max: math.MaxInt64}
	f.VarP(&o.rate, "rate-limit", "r", "bytes a second")
	f.BoolVar(&o.salvage, "salvage", false, "take what cannot be read for zeros")
	f.VarP(&o.backing, "backing", "b", "backing file of the output (also -B)")
	f.VarP(&o.backing, "old-backing", "B", "the same, as before QEMU 10.1")
	f.Lookup("old-backing").Hidden = true
	f.VarP(&o.backFmt, "backing-format", "F", "format of the backing file")
	f.BoolVar(&o.bitmaps, "bitmaps", false, "copy bitmaps")
	f.BoolVar(&o.skipBad, "skip-broken-bitmaps", false, "leave broken bitmaps out")
	f.BoolVar(&o.targetImageOpts, "target-image-opts", false, "the output's name is options")
	o.show.add(f, &o.quiet)
	o.integrity.add(f)
	o.fixed.add(f)
	o.settings.add(f, "source-format")
	return p.own(c, func(ctx context.Context, args []string) error { return p.convert(ctx, o, args) })
}

// sparseValue is the flag -S.
type sparseValue struct {
	n   int64
	set bool
}

const maxSparse = 16 << 20

func (v *sparseValue) Set(s string) error {
	n, err := qemunum.ParseBetween("buffer size for sparse output", s, 0, math.MaxInt64)
	if err != nil {
		return err
	}
	if n > maxSparse || n%512 != 0 {
		return fmt.Errorf("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %d. "+
			"Select 0 to disable sparse detection (fully allocates output).", maxSparse)
	}
	v.n, v.set = n, true
	return nil
}
func (v *sparseValue) String() string { return "" }
func (v *sparseValue) Type() string   { return "size" }

// levelValue is the flag --compression-level.
type levelValue struct{ best bool }

func (v *levelValue) Set(s string) error {
	if s != "fast" && s != "best" {
		return fmt.Errorf("invalid compression level '%s' (fast or best)", s)
	}
	v.best = s == "best"
	return nil
}
func (v *levelValue) String() string { return "" }
func (v *levelValue) Type() string   { return "level" }

// parallelValue is the flag -m.
type parallelValue struct{ n int64 }

func (v *parallelValue) Set(s string) (err error) {
	v.n, err = qemunum.ParseBetween("number of coroutines", s, 1, 16)
	return err
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
		{o.noCreate && len(o.options.list) > 0, "-o has no effect when skipping image creation"},
		{o.zero && !o.noCreate, "--target-is-zero requires use of -n flag"},
	} {
		if wrong.is {
			return errors.New(wrong.text)
		}
	}
	return nil
}

var cacheModes = map[string]bool{
	"none": true, "off": true, "directsync": true, "writeback": true, "unsafe": true, "writethrough": true,
}

func checkCache(mode string) error {
	if !cacheModes[mode] {
		return fmt.Errorf("Invalid cache option: %s", safetext.Escape(mode))
	}
	return nil
}

// bypassesCache reports whether a cache mode has the page cache left out.
func bypassesCache(mode string) bool { return mode == "none" || mode == "off" || mode == "directsync" }

// readDirectly has the inputs read past the page cache.
func (c *copying) readDirectly(chains []*chain.Chain) error {
	for _, in := range chains {
		for _, f := range in.Files() {
			if err := localfile.SetDirect(f); err != nil {
				return err
			}
		}
	}
	c.execution.DirectInputs = true
	return nil
}

func (p *program) convert(ctx context.Context, o *convertOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if keyval.AsksForHelp(o.options.list) {
		return optionHelp(o.output.s, len(args) > 1)
	}
	if len(args) < 2 {
		return errors.New("Must specify image file name")
	}
	if !cacheModes[o.srcCache] {
		return fmt.Errorf("Invalid source cache option: %s", safetext.Escape(o.srcCache))
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
	c := &copying{runner: r, worker: w, name: out, fixed: o.fixed, integrity: o.integrity, quiet: o.quiet, progress: r.newProgress(o.show, o.quiet)}
	c.texts = texts{
		create: "error while converting " + safetext.Escape(o.output.s),
		read:   func(off int64) string { return fmt.Sprintf("error while reading at byte %d", off) },
		write:  func(off int64) string { return fmt.Sprintf("error while writing at byte %d", off) },
	}
	c.progress.begin()
	defer c.progress.leave()
	chains, err := c.sources(ctx, inputs, o.snapshot)
	if err != nil {
		return err
	}
	defer closeAll(chains)
	if err := c.prepare(o, chains); err != nil {
		return err
	}
	if o.noCreate && c.format != job.Raw {
		old, err := c.rewrite(ctx)
		if err != nil {
			return err
		}
		defer old.Close()
	}
	below, err := c.standOn(ctx, chains[0])
	if err != nil {
		return err
	}
	if below != nil {
		defer below.Close()
	}
	c.progress.onSignal(ctx, r.stderr)
	if err := c.run(ctx); err != nil {
		return err
	}
	c.tellSkipped()
	return nil
}

// sources opens the inputs, or a snapshot of the only one.
func (c *copying) sources(ctx context.Context, names []string, v snapshotValue) ([]*chain.Chain, error) {
	var snapshot string
	if v.set && len(names) == 1 {
		var err error
		if snapshot, err = c.findSnapshot(ctx, c.worker, names[0], v); err != nil {
			return nil, err
		}
	}
	chains, err := c.inputs(ctx, names, snapshot)
	if err != nil {
		return nil, unframeSnapshot(err)
	}
	if v.set && len(names) > 1 {
		closeAll(chains)
		return nil, errors.New("No support for concatenating multiple snapshot")
	}
	return chains, nil
}

// prepare says what the output is to be like.
func (c *copying) prepare(o *convertOptions, chains []*chain.Chain) error {
	if o.noCreate { // the cache mode is looked at after the output was made, if one is
		if err := o.checkUnusedBacking(len(chains)); err != nil {
			return err
		}
		if err := checkCache(o.cache); err != nil {
			return err
		}
	}
	if o.targetImageOpts {
		if err := c.nameFromOptions(o); err != nil {
			return err
		}
	}
	unknown := fmt.Errorf("Unknown file format '%s'", safetext.Escape(o.output.s))
	if o.noCreate {
		unknown = couldNotOpen(c.given(), fmt.Sprintf("Unknown driver '%s'", safetext.Escape(o.output.s)))
	}
	if err := c.chooseFormat(o.output.s, o.noCreate, unknown); err != nil {
		return err
	}
	if err := c.setOptions(o, chains); err != nil {
		return err
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
	c.options = output.Options{NoCreate: o.noCreate, Size: c.least(c.size)}
	c.execution.OutputSize = &c.size
	c.execution.SkipZeros = c.execution.SkipZeros && (!o.sparse.set || o.sparse.n > 0)
	c.execution.SparseSize = o.sparse.n
	c.execution.Sync = o.cache != "unsafe"
	c.execution.Workers = int(o.parallel.n)
	c.execution.Offload = o.offload && c.offloads(chains)
	c.execution.Rate = o.rate.n
	if o.salvage {
		c.execution.Salvage = true
		c.execution.Workers = 1 // so that warnings come in order
	}
	c.direct = c.direct || bypassesCache(o.cache)
	c.execution.Output.Format = c.format
	c.execution.Output.Zeroed = o.zero
	wrong := checkCache(o.cache)
	if compat, _ := c.values.Get("compat"); wrong == nil && !o.noCreate {
		wrong = c.canHaveBitmaps(o.bitmaps, compat == "0.10" || compat == "v2")
	}
	if wrong != nil { // qemu-img looks at it when it has made the output
		c.execution.Inputs, c.execution.Below = nil, nil
		c.filled = func() error { return wrong }
	}
	c.fits = func(size int64, version2 bool) error {
		if err := c.canHaveBitmaps(o.bitmaps, version2); err != nil {
			return err
		}
		if err := c.canCompress(o.compress); err != nil {
			return err
		}
		if size < c.size {
			return errors.New("output file is smaller than input file")
		}
		return nil
	}
	c.created = func(f *output.File) error {
		if !c.options.NoCreate {
			return nil
		}
		return c.fits(f.Size(), false)
	}
	if bypassesCache(o.srcCache) {
		return c.readDirectly(chains)
	}
	return nil
}

// offloads reports whether -C makes a difference, as in qemu-img: copying is only
// left to the kernel between images that store content as it is, raw and qcow2.
func (c *copying) offloads(chains []*chain.Chain) bool {
	plain := func(format string) bool { return format == string(job.Raw) || format == string(job.QCOW2) }
	if !plain(string(c.format)) || c.execution.Output.Secret != nil {
		return false
	}
	for _, in := range chains {
		for _, l := range in.Layers {
			if !plain(l.Inspection.Format) || l.Inspection.Encrypted {
				return false
			}
		}
	}
	return true
}

// nameFromOptions reads the name of an output that is there as a list of options.
func (c *copying) nameFromOptions(o *convertOptions) error {
	if o.output.set {
		return errBothFormats
	}
	i, err := c.settings.imageFromOptions(c.name)
	if err != nil {
		return err
	}
	switch {
	case i.share:
		return couldNotOpen(c.name, "force-share=on can only be used with read-only images")
	case i.readOnly:
		return couldNotOpen(c.name, "Block node is read-only")
	case i.part != nil:
		return couldNotOpen(c.name, "a part of a file is no output: offset and size are for inputs")
	case i.format == "":
		return couldNotOpen(c.name, "the format of an output is not detected: say driver=FORMAT")
	}
	if i.container != nil {
		return couldNotOpen(c.name, "an output cannot be within a container")
	}
	c.target, c.name, o.output.s = &i, i.path, i.format
	c.direct = i.direct
	return nil
}

// given is what the user called the output.
func (c *copying) given() string {
	if c.target != nil {
		return c.target.given
	}
	return c.name
}

// setOptions has the output made with the options of its format, after the
// checks that qemu-img makes before it creates anything.
func (c *copying) setOptions(o *convertOptions, chains []*chain.Chain) error {
	c.execution.SkipZeros = true
	if err := c.parseOptions(o.options.list); err != nil {
		return err
	}
	if o.noCreate { // which has no use for what is said of a backing file
		o.backing, o.backFmt = stringValue{}, stringValue{}
	}
	if err := c.setBacking(o.backing, o.backFmt); err != nil {
		return err
	}
	if err := c.checkBacking(len(chains)); err != nil {
		return err
	}
	if !o.noCreate { // qemu-img asks the image itself if there is one
		if err := c.canCompress(o.compress); err != nil {
			return err
		}
	}
	if err := c.setBitmaps(o, chains); err != nil {
		return err
	}
	c.execution.Output.Compress, c.execution.Output.BestCompression = o.compress, o.level.best
	return c.useOptions()
}

var errConcatBacking = errors.New("Having a backing file for the target makes no sense when concatenating multiple input images")

// checkUnusedBacking says what is wrong with a backing file that is named for an
// output that is there, and then of no use.
func (o *convertOptions) checkUnusedBacking(inputs int) error {
	switch {
	case o.backing.set && o.zero:
		return errors.New("Cannot use --target-is-zero when the destination image has a backing file")
	case o.backing.set && inputs > 1:
		return errConcatBacking
	}
	return nil
}

// checkBacking says what is wrong with the backing file of an output that is
// made of so many inputs.
func (c *copying) checkBacking(inputs int) error {
	name, backed := c.values.Get("backing_file")
	_, formatted := c.values.Get("backing_fmt")
	switch {
	case backed && inputs > 1:
		return errConcatBacking
	case backed && !formatted:
		return errors.New("Use of backing file requires explicit backing format")
	case backed && name == "":
		return errNoBackingName
	}
	return nil
}

// standOn opens the backing file of the output, if it is to have one: what shows
// through there is left out.
func (c *copying) standOn(ctx context.Context, source *chain.Chain) (*chain.Chain, error) {
	name, backed := c.values.Get("backing_file")
	format, _ := c.values.Get("backing_fmt")
	switch {
	case !backed:
		return nil, nil
	case c.format == job.QCOW2 && imageopts.Of(format) == nil && !readOnlyFormats[format]:
		return nil, c.createError(fmt.Sprintf("Parameter 'backing-fmt' does not accept value '%s'", safetext.Escape(format)))
	}
	in, err := c.openBacking(ctx, name, formatValue{name: format, given: true}, true)
	if err != nil {
		return nil, couldNotOpen(c.name, "Could not open backing file: "+err.Error())
	}
	if err := c.refuseSame([]*chain.Chain{in}); err != nil {
		in.Close()
		return nil, err
	}
	below := in.Input()
	c.execution.Overlay, c.execution.Below, c.below = true, &below, in
	c.execution.Inputs[0].Above = layersAbove(source, in)
	return in, nil
}

// layersAbove returns how many layers of a chain are copied: those above the
// backing file of the output, if that is one of them. If not, the topmost alone
// is, as by qemu-img: the backing file is to have what the others have.
func layersAbove(in, backing *chain.Chain) int {
	for i, l := range in.Layers {
		if i > 0 && isSame(l.File, backing.Top().File) {
			return i
		}
	}
	return 1
}

func isSame(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
