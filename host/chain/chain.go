// Package chain finds what stands behind an image. The images are inspected in
// the sandbox; what they name is opened here, if the policy lets it be, and
// handed in.
package chain

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

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

// DefaultMaxDepth is how many layers a chain may have when the policy does not
// say.
const DefaultMaxDepth = 16

// maxFiles bounds the files of one chain: a VMDK of 2 TiB may have an extent
// for every 2 GiB.
const maxFiles = 4096

// Options say how an image is to be opened.
type Options struct {
	Policy Policy
	// Format forces the format of the image; empty has it detected. What lies
	// below it has the format that is declared there, or a detected one.
	Format string
	// Snapshot selects an internal snapshot of the image by ID or name.
	Snapshot string
	// Secret unlocks the encrypted layers.
	Secret []byte
	// ForceShare opens images that others write (-U).
	ForceShare bool
}

// A Chain is an image and all that it stands on, open and granted to the
// worker that inspected it.
type Chain struct {
	// Layers has at least one; the topmost comes first.
	Layers []*Layer
	secret []byte
	name   string // the snapshot
}

// A Layer is one image of a chain.
type Layer struct {
	Name       string   // as given, or as it follows from the names in images
	File       *os.File // open for reading only
	Inspection *job.Inspection
	ID         int // by which the worker knows File
	// Files are the open files behind Inspection.References, by index: nil for
	// a backing file, which is the next layer.
	Files []*os.File
	ids   []int
}

// Discover opens the image of that name and all that it stands on, and grants
// it to w. Its errors begin "Could not open 'NAME': " and are fit to be shown.
// A *RefusedError below them says that the policy does not let a name be
// followed.
func Discover(ctx context.Context, w Inspector, name string, o Options) (*Chain, error) {
	d := &discovery{ctx: ctx, w: w, options: o, chain: &Chain{secret: o.Secret, name: o.Snapshot}}
	if err := d.run(name); err != nil {
		d.chain.Close()
		return nil, couldNotOpen(name, err)
	}
	return d.chain, nil
}

// Inspect opens the image of that name alone, and has w inspect it: what it
// names stays closed. Its errors are those of Discover.
func Inspect(ctx context.Context, w Inspector, name string, o Options) (*Layer, error) {
	d := &discovery{ctx: ctx, w: w, options: o}
	l, err := d.top(name)
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
		layer := job.Layer{ID: l.ID, Format: l.Inspection.Format, Secret: c.secret, Files: l.ids}
		if i == 0 {
			layer.Snapshot = c.name
		}
		in.Layers = append(in.Layers, layer)
	}
	return in
}

// Files returns every file of the chain: none of them may be written to.
func (c *Chain) Files() []*os.File {
	var files []*os.File
	for _, l := range c.Layers {
		files = append(files, l.File)
		for _, f := range l.Files {
			if f != nil {
				files = append(files, f)
			}
		}
	}
	return files
}

// Close closes the files of the chain, and so gives their locks back once the
// worker has gone.
func (c *Chain) Close() error {
	var errs []error
	for _, l := range c.Layers {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Close closes the files of the layer.
func (l *Layer) Close() error {
	errs := []error{l.File.Close()}
	for _, f := range l.Files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// couldNotOpen puts qemu-img's frame around err.
func couldNotOpen(name string, err error) error {
	return fmt.Errorf("Could not open '%s': %w", safetext.Escape(name), err)
}

// fileID is what makes two descriptors those of one file.
type fileID struct{ dev, ino uint64 }

func identify(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, err
	}
	return fileID{uint64(st.Dev), st.Ino}, nil
}
