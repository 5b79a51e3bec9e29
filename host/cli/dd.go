package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"instar/dd"
	"instar/host/output"
	"instar/internal/safetext"
	"instar/job"
)

func (p *program) ddCommand() *cobra.Command {
	var (
		s     settings
		out   string
		show  progressValue
		quiet bool
		fixed reproducible
		check integrity
	)
	c := &cobra.Command{
		Use:   "dd [OPTIONS] if=IN of=OUT [bs=N] [count=N] [skip=N]",
		Short: "copy a disk image, or a part of it, to another format",
		Long: `Copy the content of the image IN, or a part of it, into the image OUT, as
qemu-img dd does.

The part is said in blocks of bs bytes (512 unless given): it ends with block
count, counted from the start of IN, and begins after skip blocks. Numbers are in
bytes or blocks and may have a suffix: k, M, G, T, P or E.

The output is dense, and on stable storage when the command has succeeded. What
stood under its name is replaced then, and not before.`,
		Example: `  instar dd if=disk.qcow2 of=disk.raw
  instar dd -f qcow2 -O raw if=disk.qcow2 of=first-GiB.raw bs=1M count=1k
  instar dd if=disk.qcow2 of=rest.raw bs=1M skip=1k`,
	}
	f := c.Flags()
	f.StringVarP(&out, "output-format", "O", dd.DefaultOutputFormat, "format of the output")
	show.add(f, &quiet)
	check.add(f)
	fixed.add(f)
	s.add(f, "format")
	return p.own(c, func(ctx context.Context, args []string) error {
		operands, err := dd.ParseOperands(args, s.format.name, out)
		if err != nil {
			return err
		}
		operands.OutputFormat = out // empty is a name as well, of nothing
		r, err := p.runner(&s)
		if err != nil {
			return err
		}
		return r.dd(ctx, operands, fixed, check, p.newProgress(show, quiet))
	})
}

func (r *runner) dd(ctx context.Context, o dd.Operands, fixed reproducible, check integrity, show *progress) error {
	w, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer r.finish(w)
	c := &copying{runner: r, worker: w, name: o.Output, fixed: fixed, integrity: check, progress: show, texts: texts{
		create: "error while creating output image",
		read:   func(int64) string { return "error while reading from input image file" },
		write:  func(int64) string { return "error while writing to output image file" },
	}}
	chains, err := c.inputs(ctx, []string{o.Input}, "")
	if err != nil {
		return err
	}
	defer closeAll(chains)
	if err := c.chooseFormat(o.OutputFormat, false, errors.New("Unknown file format")); err != nil {
		return err
	}
	if err := c.refuseSame(chains); err != nil {
		return err
	}
	window := dd.ComputeWindow(chains[0].Size(), o.BlockSize, o.Count, o.Skip)
	c.size = window.OutSize
	c.options.Size = c.least(window.OutSize)
	c.execution.Window = &window
	c.execution.Sync = true
	c.execution.Output.Format = c.format
	c.created = func(*output.File) error {
		// qemu-img does not come to say it of an output that cannot be empty, or
		// that dd cannot make.
		if window.SkipBeyond && c.format != job.LUKS && (window.OutSize > 0 || c.format.CanBeEmpty()) {
			r.say(fmt.Sprintf("%s: cannot skip to specified offset", safetext.Escape(o.Input)))
		}
		return nil
	}
	c.progress.onSignal(ctx, nil)
	return c.run(ctx)
}
