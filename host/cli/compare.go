package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"instar/host/chain"
	"instar/internal/safetext"
	"instar/internal/strerror"
	"instar/job"
)

// Exit codes of compare, besides 0 for images that are the same.
const (
	exitDiffer     = 1
	exitOpen       = 2 // an image cannot be opened, or what else goes wrong
	exitAllocation = 3 // what an image stores cannot be told
	exitRead       = 4 // an image cannot be read
)

// An exitError ends the program with a code. What is wrong with it is said; nil
// has been.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprint(e.err) }
func (e *exitError) Unwrap() error { return e.err }

// compareOptions are the flags of compare.
type compareOptions struct {
	settings
	second   formatValue
	srcCache string
	strict   bool
	show     progressValue
	quiet    bool
}

func (p *program) compareCommand() *cobra.Command {
	o := &compareOptions{}
	c := &cobra.Command{
		Use:   "compare [OPTIONS] IMAGE1 IMAGE2",
		Short: "compare the content of two disk images",
		Long: `Say whether two images have the same content, as qemu-img compare does. Where
one is longer, the rest of it has to read as zeros.

The exit code is 0 if they are the same, 1 if they differ, 2 if one cannot be
opened, 3 if it cannot be told what one stores, and 4 if one cannot be read.`,
		Example: `  instar compare disk.qcow2 disk.raw
  instar compare -f raw -F qcow2 disk.img copy.qcow2
  instar compare -s -q before.qcow2 after.qcow2`,
	}
	f := c.Flags()
	o.settings.add(f, "a-format")
	f.VarP(&o.second, "b-format", "F", "format of the second image (default: detected)")
	f.BoolVarP(&o.strict, "strict", "s", false, "sizes, and what is stored and what is not, have to be the same as well")
	f.StringVarP(&o.srcCache, "source-cache", "T", "writeback", "cache mode of the images")
	o.show.add(f, &o.quiet)
	p.own(c, func(ctx context.Context, args []string) error {
		if len(args) != 2 {
			return &usageError{"Expecting two image file names"}
		}
		return p.compare(ctx, o, args)
	})
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error { return p.compareExit(run(c, args)) }
	return c
}

// compareExit has everything but a wrong command line, and what has a code of
// its own, end with the code for images that cannot be opened.
func (p *program) compareExit(err error) error {
	var (
		exit   *exitError
		usage  *usageError
		option *optionError
		help   *helpError
	)
	if p.stdout.err != nil && (err == nil || errors.As(err, &exit) && exit.err == nil) {
		return &exitError{exitOpen, p.stdout.err}
	}
	if err == nil || errors.As(err, &exit) || errors.As(err, &usage) || errors.As(err, &option) || errors.As(err, &help) {
		return err
	}
	return &exitError{exitOpen, err}
}

func (p *program) compare(ctx context.Context, o *compareOptions, names []string) error {
	show := p.newProgress(o.show, o.quiet)
	defer show.leave()
	if !cacheModes[o.srcCache] {
		return fmt.Errorf("Invalid source cache option: %s", safetext.Escape(o.srcCache))
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
	c := &copying{runner: r, worker: w, progress: show}
	chains, err := c.inputs(ctx, names[:1], "")
	if err != nil {
		return err
	}
	defer func() { closeAll(chains) }()
	r.settings.format = o.second
	second, err := c.inputs(ctx, names[1:], "")
	if err != nil {
		return err
	}
	chains = append(chains, second...)
	return c.compare(ctx, o, chains, names)
}

// compare has the worker compare two chains, and says what came of it.
func (c *copying) compare(ctx context.Context, o *compareOptions, chains []*chain.Chain, names []string) error {
	c.finishing.Lock() // the line that shows progress
	defer c.finishing.Unlock()
	sizes := [2]int64{chains[0].Size(), chains[1].Size()}
	c.progress.onSignal(ctx, c.stderr)
	c.progress.begin()
	if o.strict && sizes[0] != sizes[1] {
		return c.verdict(o, exitDiffer, "Strict mode: Image size mismatch!")
	}
	x := &job.Compare{Strict: o.strict}
	copy(x.Inputs[:], c.execution.Inputs)
	last := job.Progress{}
	d, err := c.worker.Compare(ctx, x, func(p job.Progress) {
		if last = p; p.Done < p.Total || sizes[0] == sizes[1] {
			c.progress.update(p)
		}
	})
	if err != nil {
		return err
	}
	if err := complete(chains); err != nil && d.Failure == nil {
		return &exitError{exitRead, err}
	}
	end := min(sizes[0], sizes[1])
	if sizes[0] != sizes[1] && (d.Offset < 0 || d.Offset >= end) && !o.quiet {
		c.tell("Warning: Image size mismatch!")
	}
	name := names[0]
	if d.Second {
		name = names[1]
	}
	switch {
	case d.Failure != nil && d.Status:
		return &exitError{exitAllocation, fmt.Errorf("Sector allocation test failed for %s (%s)", safetext.Escape(name), d.Failure.Message)}
	case d.Failure != nil:
		return &exitError{exitRead, fmt.Errorf("Error while reading offset %d of %s: %s", d.Offset, safetext.Escape(name), readReason(d.Failure))}
	case d.Offset < 0:
		if sizes[0] != sizes[1] { // the end comes after the warning
			c.progress.update(last)
		}
		return c.verdict(o, 0, "Images are identical.")
	case d.Status:
		return c.verdict(o, exitDiffer, fmt.Sprintf("Strict mode: Offset %d block status mismatch!", d.Offset))
	}
	return c.verdict(o, exitDiffer, fmt.Sprintf("Content mismatch at offset %d!", d.Offset))
}

// readReason says in the words of the C library why content cannot be read, and
// what the image has to do with it.
func readReason(e *job.Error) string {
	if e.Errno != 0 {
		return strerror.Errno(syscall.Errno(e.Errno))
	}
	return strerror.Errno(syscall.EIO) + " (" + e.Message + ")"
}

func (c *copying) tell(text string) { fmt.Fprintln(c.stdout, text) }

// verdict ends the comparison.
func (c *copying) verdict(o *compareOptions, code int, text string) error {
	if !o.quiet {
		c.tell(text)
	}
	if code == 0 {
		return nil
	}
	return &exitError{code: code}
}
