package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"instar/host/chain"
	"instar/host/output"
	"instar/host/sandbox"
	"instar/internal/safetext"
	"instar/internal/strerror"
	"instar/job"
)

// A copying is what dd and convert share once the inputs are open: making the
// output, having the worker fill it, and putting it in place.
type copying struct {
	*runner
	worker    *sandbox.Worker
	name      string // of the output
	format    job.OutputFormat
	size      int64 // virtual size of the output, bytes
	options   output.Options
	execution job.Execution
	texts     texts
	progress  *progress
	// created is called when the output is there; nil is nothing.
	created func(*output.File) error
}

// texts are the words in which dd and convert differ.
type texts struct {
	create      string // "error while creating output image"
	read, write func(offset int64) string
}

// inputs opens the chains of the named images.
func (c *copying) inputs(ctx context.Context, names []string, o chain.Options) (chains []*chain.Chain, err error) {
	defer func() {
		if err != nil {
			closeAll(chains)
		}
	}()
	for _, name := range names {
		in, err := chain.Discover(ctx, c.worker, name, o)
		if err != nil {
			return chains, err
		}
		chains = append(chains, in)
		if err := readable(name, in); err != nil {
			return chains, err
		}
		c.execution.Inputs = append(c.execution.Inputs, in.Input())
	}
	return chains, nil
}

// readable returns why the content of a chain cannot be read, as when it is
// encrypted and there is no passphrase.
func readable(name string, in *chain.Chain) error {
	for depth, l := range in.Layers {
		if why := l.Inspection.Refused; why != "" {
			return fmt.Errorf("Could not open '%s': %s%s", safetext.Escape(name), //nolint:staticcheck // qemu-img's text
				strings.Repeat("Could not open backing file: ", depth), safetext.Escape(safetext.Limit(why, 4096)))
		}
	}
	return nil
}

func closeAll(chains []*chain.Chain) {
	for _, c := range chains {
		c.Close()
	}
}

// refuseSame refuses an output that is one of the inputs, under any name.
func (c *copying) refuseSame(chains []*chain.Chain) error {
	for _, in := range chains {
		for _, f := range in.Files() {
			same, err := output.Same(f, c.name)
			if err != nil {
				return err
			}
			if same {
				return fmt.Errorf("%s: input and output are the same file", safetext.Escape(c.name))
			}
		}
	}
	return nil
}

// run makes the output and has it filled. What stood under its name is replaced
// if all goes well.
func (c *copying) run(ctx context.Context) (err error) {
	out, err := output.Create(c.name, c.options)
	if err != nil {
		var create *output.CreateError
		if errors.As(err, &create) {
			err = c.createError(err.Error())
		}
		return err
	}
	defer func() {
		if abortErr := out.Abort(); err == nil && abortErr != nil {
			err = abortErr
		}
	}()
	if c.created != nil {
		if err := c.created(out); err != nil {
			return err
		}
	}
	existing := out.Device() || c.options.NoCreate
	c.execution.Output.Existing = existing
	c.execution.Output.Zeroed = c.execution.Output.Zeroed || !existing
	ceiling := job.OutputCapacity(c.format, c.size)
	c.execution.Output.ID, err = c.worker.Grant(out.File(), job.Write, ceiling)
	if err != nil {
		return err
	}
	c.progress.begin()
	_, err = c.worker.Execute(ctx, &c.execution, c.progress.update)
	if err != nil {
		c.progress.abandon()
		return c.explain(err)
	}
	if err := out.Commit(); err != nil {
		c.progress.abandon()
		return err
	}
	c.progress.end()
	return nil
}

func (c *copying) createError(why string) error {
	return fmt.Errorf("%s: %s: %s", safetext.Escape(c.name), c.texts.create, why)
}

// explain words what the worker says went wrong as qemu-img does.
func (c *copying) explain(err error) error {
	var e *job.Error
	if !errors.As(err, &e) {
		return err
	}
	why, detail := e.Message, ""
	if e.Errno != 0 {
		why = strerror.Errno(syscall.Errno(e.Errno))
	} else if e.Kind == job.ErrRead {
		why, detail = strerror.Errno(syscall.EIO), " ("+e.Message+")"
	}
	switch e.Kind {
	case job.ErrCreate:
		if e.Errno != 0 {
			why = "Could not resize file: " + why
		}
		return c.createError(why)
	case job.ErrRead:
		return errors.New(c.texts.read(e.Offset) + ": " + why + detail)
	case job.ErrWrite:
		return errors.New(c.texts.write(e.Offset) + ": " + why)
	}
	return err
}

// outputFormat reads the name that -O gave. unknown is what is said of one that
// does not exist.
func outputFormat(name string, unknown func(name string) string) (job.OutputFormat, error) {
	f, err := job.ParseOutputFormat(name)
	var none *job.UnknownFormatError
	if errors.As(err, &none) {
		return "", errors.New(unknown(safetext.Escape(name)))
	}
	return f, err
}

// isTerminal reports whether f is a terminal that shows a line again and again.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && terminal(file)
}
