package chain

import (
	"context"
	"errors"
	"fmt"
	"os"

	"instar/host/localfile"
	"instar/internal/safetext"
	"instar/job"
)

// A discovery is one run of Discover.
type discovery struct {
	ctx     context.Context
	w       Inspector
	options Options
	chain   *Chain
	files   int
	seen    map[fileID]string // the layers, and what they are called
}

// run finds the layers from the top down.
func (d *discovery) run(name string) error {
	d.seen = make(map[fileID]string)
	layer, err := d.top(name)
	if err != nil {
		return err
	}
	frame := func(err error) error { return err }
	for {
		below, err := d.add(layer)
		if err != nil {
			return frame(err)
		}
		if below == nil {
			return nil
		}
		frame = deeper(frame)
		if layer, err = d.backing(layer, below); err != nil {
			return frame(err)
		}
	}
}

// deeper adds what qemu-img says for each step down the chain.
func deeper(frame func(error) error) func(error) error {
	return func(err error) error { return frame(fmt.Errorf("Could not open backing file: %w", err)) }
}

// top opens and inspects the image that the user named.
func (d *discovery) top(name string) (*Layer, error) {
	f, path, err := openTop(name)
	if err != nil {
		return nil, err
	}
	return d.inspect(f, path, job.Inspect{
		Format:   d.options.Format,
		Snapshot: d.options.Snapshot,
		Secret:   d.options.Secret,
	})
}

// inspect makes a layer of an open file, which it closes if it fails.
func (d *discovery) inspect(f *os.File, name string, j job.Inspect) (*Layer, error) {
	l := &Layer{Name: name, File: f}
	err := d.lock(f, name)
	if err == nil {
		l.ID, err = d.grant(f)
	}
	if err == nil {
		j.ID = l.ID
		l.Inspection, err = d.w.Inspect(d.ctx, j)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func (d *discovery) lock(f *os.File, name string) error {
	if d.options.ForceShare {
		return nil
	}
	return localfile.LockRead(f, safetext.Escape(name))
}

func (d *discovery) grant(f *os.File) (int, error) {
	if d.files++; d.files > maxFiles {
		return 0, fmt.Errorf("the image stands on more than %d files", maxFiles)
	}
	return d.w.Grant(f, job.Read, 0)
}

// add makes l the lowest layer of the chain, opens the files that hold its
// content, and returns its reference to the layer below, nil when it has none.
func (d *discovery) add(l *Layer) (*job.Reference, error) {
	d.chain.Layers = append(d.chain.Layers, l)
	id, err := identify(l.File)
	if err != nil {
		return nil, err
	}
	if other, ok := d.seen[id]; ok {
		return nil, fmt.Errorf("the chain loops: '%s' stands on '%s', which is the same file", safetext.Escape(other), safetext.Escape(l.Name))
	}
	d.seen[id] = l.Name
	if n := d.maxDepth(); len(d.chain.Layers) > n {
		return nil, fmt.Errorf("the chain is more than %d images deep", n)
	}
	return d.content(l)
}

func (d *discovery) maxDepth() int {
	if n := d.options.Policy.MaxDepth; n > 0 {
		return n
	}
	return DefaultMaxDepth
}

// content opens the files that hold the content of l.
func (d *discovery) content(l *Layer) (below *job.Reference, err error) {
	refs := l.Inspection.References
	if len(refs) == 0 {
		return nil, nil
	}
	l.Files, l.ids = make([]*os.File, len(refs)), make([]int, len(refs))
	for i := range l.ids {
		l.ids[i] = -1
	}
	for i := range refs {
		if refs[i].Kind == job.BackingFile {
			if below != nil {
				return nil, errors.New("the image names two backing files")
			}
			below = &refs[i]
			continue
		}
		if err := d.contentFile(l, i); err != nil {
			return nil, err
		}
	}
	return below, nil
}

// contentFile opens the file behind l's reference i.
func (d *discovery) contentFile(l *Layer, i int) error {
	f, name, err := d.open(l, &l.Inspection.References[i])
	if err != nil {
		return err
	}
	l.Files[i] = f
	if err := d.lock(f, name); err != nil {
		return err
	}
	l.ids[i], err = d.grant(f)
	return err
}

// backing opens and inspects the layer below l.
func (d *discovery) backing(l *Layer, ref *job.Reference) (*Layer, error) {
	f, name, err := d.open(l, ref)
	if err != nil {
		return nil, err
	}
	below, err := d.inspect(f, name, job.Inspect{Format: ref.Format, Secret: d.options.Secret})
	if err != nil {
		return nil, err
	}
	if ref.Identity != "" && ref.Identity != below.Inspection.Identity {
		below.Close()
		return nil, fmt.Errorf("'%s' is not the image that '%s' was made on, or has been written to since", safetext.Escape(name), safetext.Escape(l.Name))
	}
	return below, nil
}

// open opens what l names, by the policy, under the first of its names that
// can be.
func (d *discovery) open(l *Layer, ref *job.Reference) (*os.File, string, error) {
	if ref.Kind == job.DataFile && !d.options.Policy.AllowDataFile {
		return nil, "", &RefusedError{
			Name: ref.Names[0],
			Why:  fmt.Sprintf("the image keeps its content in a data file, '%s' (see --allow-data-file)", safetext.Escape(ref.Names[0])),
		}
	}
	g, err := newGate(l.Name, d.options.Policy)
	if err != nil {
		return nil, "", err
	}
	defer g.close()
	var first error
	for _, name := range candidates(ref) {
		f, shown, err := g.open(name, ref.Kind)
		if err == nil {
			return f, shown, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", first
}
