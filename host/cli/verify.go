package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"instar/host/chain"
	"instar/host/localfile"
	"instar/host/output"
	"instar/host/sandbox"
	"instar/internal/safetext"
	"instar/internal/strerror"
	"instar/job"
)

// A reading is an output open to be read back, once it is written.
type reading struct {
	file  *os.File
	extra []*os.File // the other files that it consists of, in order
	names []string   // what the image calls them
}

// openReading opens an output to be read back. That is done before it is
// written, so that it is known whether it can be.
func (c *copying) openReading(out *output.File, extra []job.ExtraFile) (r *reading, err error) {
	r = &reading{}
	defer func() {
		if err != nil {
			r.close()
			err = fmt.Errorf("%s: cannot be read back to be verified: %s", safetext.Escape(c.given()), strerror.Text(err))
		}
	}()
	if r.file, err = out.Reread(); err != nil {
		return r, err
	}
	for i, f := range out.Extra() {
		file, err := f.Reread()
		if err != nil {
			return r, err
		}
		r.extra, r.names = append(r.extra, file), append(r.names, extra[i].Name)
	}
	return r, nil
}

func (r *reading) files() []*os.File { return append(slices.Clip(r.extra), r.file) }

func (r *reading) close() {
	for _, f := range r.files() {
		if f != nil {
			f.Close()
		}
	}
}

// verify reads the output back, as anybody will who opens it, and compares its
// content with what was written. The worker that wrote is ended before, so that
// what is read is what stays, and another one reads.
func (c *copying) verify(ctx context.Context, r *reading, want *job.Digest) error {
	c.worker.Close()
	for _, f := range r.files() {
		localfile.Forget(f)
	}
	o, err := c.sandboxOptions()
	if err != nil {
		return err
	}
	o.Wall, o.Warn = c.worker.Report().Wall, nil // of which all has been said
	w, err := sandbox.Start(ctx, o)
	if err != nil {
		return c.unverified(err)
	}
	defer func() {
		w.Close()
		c.tellReport("verification: ", w)
	}()
	input, err := c.readBack(ctx, w, r, want.Size)
	if err != nil {
		return c.unverified(err)
	}
	got, err := w.Sum(ctx, &job.Sum{Input: input, Size: want.Size, Hash: c.execution.Hash}, c.progress.second)
	switch {
	case err != nil:
		return c.unverified(err)
	case !bytes.Equal(got.Sum, want.Sum):
		return c.unverified(errors.New("the content that is read back is not what was written"))
	}
	return nil
}

// unverified says that the output is not known to be right.
func (c *copying) unverified(err error) error {
	var e *job.Error
	if errors.As(err, &e) && e.Kind == job.ErrRead {
		err = fmt.Errorf("error while reading back at byte %d: %s", e.Offset, readReason(e))
	}
	return fmt.Errorf("%s: verification failed: %w", safetext.Escape(c.given()), err)
}

// readBack hands an output of so many bytes, and what it stands on, to a worker
// that is to read it.
func (c *copying) readBack(ctx context.Context, w *sandbox.Worker, r *reading, size int64) (in job.Input, err error) {
	l := job.Layer{Format: string(c.format), Secret: c.execution.Output.Secret}
	if l.ID, err = w.Grant(r.file, job.Read, 0); err != nil {
		return in, err
	}
	i, err := w.Inspect(ctx, job.Inspect{ID: l.ID, Format: l.Format, Secret: l.Secret})
	if err != nil {
		return in, err
	}
	// Only a raw file or device that was there may go on behind the copy, and what
	// is in a LUKS container.
	if longer := c.execution.Output.Existing && (c.format == job.Raw || c.format == job.LUKS); i.VirtualSize < size || i.VirtualSize > size && !longer {
		return in, fmt.Errorf("its virtual size is %d bytes, not %d", i.VirtualSize, size)
	}
	for _, ref := range i.References {
		id, err := r.grant(w, ref)
		if err != nil {
			return in, err
		}
		l.Files = append(l.Files, id)
	}
	in.Layers = []job.Layer{l}
	if c.below != nil {
		below, err := c.below.InputFor(w)
		if err != nil {
			return in, err
		}
		in.Layers = append(in.Layers, below.Layers...)
	}
	return in, nil
}

// grant hands over the file that a reference of the output is to, -1 for what it
// stands on. No other file is opened, whatever the output says.
func (r *reading) grant(w chain.Inspector, ref job.Reference) (int, error) {
	if ref.Kind == job.BackingFile {
		return -1, nil
	}
	k := slices.IndexFunc(r.names, func(name string) bool { return slices.Contains(ref.Names, name) })
	if k < 0 {
		return -1, errors.New("it names a file that is no part of it")
	}
	return w.Grant(r.extra[k], job.Read, 0)
}
