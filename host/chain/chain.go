// Package chain finds what stands behind an image. The images are inspected in
// the sandbox; what they name is opened here, if the policy lets it be, and
// handed in.
package chain

import (
	"context"
	"errors"
	"os"

	"instar/internal/safetext"
	"instar/job"
)

// An Inspector is the sandbox as this package needs it: a *sandbox.Worker.
type Inspector interface {
	// Grant hands an open file in and returns the number it has there.
	Grant(f *os.File, a job.Access, ceiling int64) (int, error)
	// Inspect says what an image is. All that it says is hostile.
	Inspect(ctx context.Context, j job.Inspect) (*job.Inspection, error)
}

// Options say how an image is to be opened.
type Options struct {
	Policy Policy
	// Format forces the format of the image; empty has it detected. What lies
	// below it has the format that is declared there, or a detected one.
	Format string
	// Part has the image, a raw one, be a part of its file; nil is all of it.
	Part *job.Part
	// Snapshot selects an internal snapshot of the image by ID or name.
	Snapshot string
	// Secret unlocks the encrypted layers.
	Secret []byte
	// Container is what the image is encrypted in, if it is not the file itself.
	Container *job.Container
	// Verify has all tables of the image followed, to see whether they are sound.
	Verify bool
	// Extents has images be described with the extents that are files of their
	// own, as far as the policy lets those be opened. No other files are that hold
	// content: it cannot be read.
	Extents bool
	// ForceShare opens images that others write (-U).
	ForceShare bool
}

// A Chain is an image and all that it stands on, open and granted to the
// worker that inspected it.
type Chain struct {
	// Layers has at least one; the topmost comes first.
	Layers []*Layer

	part     *job.Part
	snapshot string
	secret   []byte
	lengths  []int64 // of Files, in bytes, when they had been opened
}

// A Layer is one image of a chain.
type Layer struct {
	// Name is what the user called it, without "file:"; for a backing file the
	// name in the image above, joined to the folder of that image.
	Name       string
	File       *os.File // open for reading only
	ID         int      // what the worker calls File
	Inspection *job.Inspection
	// Files are the open files behind Inspection.References, by index; nil for
	// a backing file, which is a layer of its own, and after Inspect.
	Files []*os.File

	container *job.Container
	dir       *root // the folder that Name is in
	ids       []int // what the worker calls Files; -1 for nil
}

// Discover opens the image of that name and all that it stands on, and grants
// it to w. The errors begin with "Could not open 'NAME': " and are fit to be
// shown. Among what they wrap are *RefusedError, *localfile.LockError, and
// whatever w returns.
func Discover(ctx context.Context, w Inspector, name string, o Options) (*Chain, error) {
	d := newDiscovery(ctx, w, o)
	defer d.close()
	if err := d.run(name); err != nil {
		d.chain.Close()
		return nil, couldNotOpen(name, err)
	}
	for _, f := range d.chain.Files() {
		d.chain.lengths = append(d.chain.lengths, length(f))
	}
	return d.chain, nil
}

// Inspect opens the image of that name alone, and has w inspect it: what it
// names stays closed, but for Options.Extents. The errors are those of Discover.
func Inspect(ctx context.Context, w Inspector, name string, o Options) (*Layer, error) {
	d := newDiscovery(ctx, w, o)
	defer d.close()
	l, err := d.top(name)
	if err == nil && o.Extents {
		if err = d.extents(l); err != nil {
			l.Close()
		}
	}
	if err != nil {
		return nil, couldNotOpen(name, err)
	}
	return l, nil
}

// Top returns the image that was asked for.
func (c *Chain) Top() *Layer { return c.Layers[0] }

// Size returns the virtual size of the image in bytes.
func (c *Chain) Size() int64 { return c.Top().Inspection.VirtualSize }

// Input returns the chain as a job names it.
func (c *Chain) Input() job.Input {
	var in job.Input
	for i, l := range c.Layers {
		layer := job.Layer{ID: l.ID, Format: l.Inspection.Format, Secret: c.secret, Container: l.container, Files: l.ids}
		if i == 0 {
			layer.Snapshot, layer.Part = c.snapshot, c.part
		}
		in.Layers = append(in.Layers, layer)
	}
	return in
}

// Below returns what the image stands on as a chain, which needs no closing of
// its own; nil is nothing.
func (c *Chain) Below() *Chain {
	if len(c.Layers) == 1 {
		return nil
	}
	return &Chain{Layers: c.Layers[1:], secret: c.secret}
}

// InputFor hands the chain to another worker than the one that inspected it,
// and returns it as a job for that one names it.
func (c *Chain) InputFor(w Inspector) (job.Input, error) {
	in := c.Input()
	for i, l := range c.Layers {
		var err error
		if in.Layers[i].ID, err = w.Grant(l.File, job.Read, 0); err != nil {
			return in, err
		}
		in.Layers[i].Files = make([]int, len(l.Files))
		for k, f := range l.Files {
			in.Layers[i].Files[k] = -1
			if f == nil {
				continue
			}
			if in.Layers[i].Files[k], err = w.Grant(f, job.Read, 0); err != nil {
				return in, err
			}
		}
	}
	return in, nil
}

// Files returns every file of the chain. An output must be none of them.
func (c *Chain) Files() []*os.File {
	var files []*os.File
	for _, l := range c.Layers {
		files = append(files, l.files()...)
	}
	return files
}

// length returns how long a file is, and 0 where that does not count.
func length(f *os.File) int64 {
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return 0
	}
	return st.Size()
}

// A ShorterError says that a file of a chain is shorter than it was when the
// chain was discovered: what has been read of its end were zeros.
type ShorterError struct{ Name string }

func (e *ShorterError) Error() string {
	return safetext.Escape(e.Name) + ": the file became shorter while it was read"
}

// Complete returns a *ShorterError if a file has become shorter.
func (c *Chain) Complete() error {
	k := 0
	for _, l := range c.Layers {
		for _, f := range l.files() {
			if k < len(c.lengths) && length(f) < c.lengths[k] {
				return &ShorterError{l.Name}
			}
			k++
		}
	}
	return nil
}

// Close closes the files of the chain. Their locks last as long as the worker
// has them open.
func (c *Chain) Close() error {
	var errs []error
	for _, l := range c.Layers {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Device reports that the image is on a device.
func (l *Layer) Device() bool {
	st, err := l.File.Stat()
	return err == nil && st.Mode()&os.ModeDevice != 0
}

func (l *Layer) files() []*os.File {
	files := []*os.File{l.File}
	for _, f := range l.Files {
		if f != nil {
			files = append(files, f)
		}
	}
	return files
}

// Close closes the files of the layer.
func (l *Layer) Close() error {
	var errs []error
	for _, f := range l.files() {
		errs = append(errs, f.Close())
	}
	if l.dir != nil {
		l.dir.close()
	}
	return errors.Join(errs...)
}
