package chain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"instar/host/localfile"
	"instar/internal/strerror"
	"instar/job"
)

// maxFiles bounds the files of one chain: a VMDK of 2 TiB may have an extent
// for every 2 GiB.
const maxFiles = 4096

// A discovery is one run of Discover.
type discovery struct {
	ctx     context.Context
	w       Inspector
	options Options
	chain   *Chain
	allowed []*root // the policy's AllowPaths
	opened  bool    // allowed has been opened
	files   int     // granted
	seen    map[fileID]bool
}

func newDiscovery(ctx context.Context, w Inspector, o Options) *discovery {
	return &discovery{
		ctx: ctx, w: w, options: o,
		chain: &Chain{part: o.Part, snapshot: o.Snapshot, secret: o.Secret},
		seen:  make(map[fileID]bool),
	}
}

func (d *discovery) close() { closeRoots(d.allowed) }

// run finds the layers, from the top down.
func (d *discovery) run(name string) error {
	l, err := d.top(name)
	if err != nil {
		return err
	}
	for depth := 0; ; depth++ {
		d.chain.Layers = append(d.chain.Layers, l)
		below, err := d.content(l)
		if err != nil {
			return frame(err, depth)
		}
		if below == nil {
			return nil
		}
		if l, err = d.backing(l, below); err != nil {
			return frame(err, depth+1)
		}
	}
}

// frame adds what qemu-img says for each step down the chain.
func frame(err error, depth int) error {
	for range depth {
		err = fmt.Errorf("Could not open backing file: %w", err)
	}
	return err
}

// top opens and inspects the image that the user named.
func (d *discovery) top(name string) (*Layer, error) {
	l, err := openTop(name)
	if err != nil {
		return nil, err
	}
	l.container = d.options.Container
	return l, d.inspect(l, job.Inspect{
		Format:   d.options.Format,
		Part:     d.options.Part,
		Snapshot: d.options.Snapshot,
		Secret:   d.options.Secret,
		Verify:   d.options.Verify,
	})
}

// backing opens and inspects the layer that l names.
func (d *discovery) backing(l *Layer, ref *job.Reference) (*Layer, error) {
	if n := d.options.Policy.maxDepth(); len(d.chain.Layers) >= n {
		return nil, fmt.Errorf("the chain has more than %d images", n)
	}
	t, err := d.locate(l, ref)
	if err != nil {
		return nil, err
	}
	defer t.close()
	below := &Layer{Name: t.name}
	if below.File, err = t.open(); err != nil {
		return nil, err
	}
	if below.dir, err = t.folder(); err != nil {
		below.Close()
		return nil, err
	}
	format := ref.Format
	if format == "file" { // QEMU's driver of files, which shows what is in one
		format = string(job.Raw)
	}
	if err := d.inspect(below, job.Inspect{Format: format, Secret: d.options.Secret}); err != nil {
		return nil, err
	}
	if ref.Identity != "" && ref.Identity != below.Inspection.Identity {
		below.Close()
		return nil, fmt.Errorf("'%s' has changed since '%s' was made on it, or is another image", shown(below.Name), shown(l.Name))
	}
	return below, nil
}

// inspect has the worker say what an open layer is. If it fails it closes the
// layer.
func (d *discovery) inspect(l *Layer, j job.Inspect) error {
	err := d.enter(l)
	if err == nil {
		l.ID, err = d.grant(l.File, l.Name)
	}
	if err == nil {
		j.ID, j.Container = l.ID, l.container
		if j.Format == "" {
			j.Suffix = suffix(l.Name)
		}
		l.Inspection, err = d.w.Inspect(d.ctx, j)
		if err != nil && err.Error() == strerror.Errno(unix.EINVAL) {
			err = couldNotOpen(l.Name, err) // as QEMU where a driver has no more to say
		}
	}
	if err != nil {
		l.Close()
	}
	return err
}

// suffix returns how a name ends, as far as it may matter to detection.
func suffix(name string) string {
	if s := filepath.Ext(name); len(s) <= 8 && utf8.ValidString(s) {
		return s
	}
	return ""
}

// enter refuses a layer that the chain already has.
func (d *discovery) enter(l *Layer) error {
	id, err := identify(l.File)
	if err != nil {
		return couldNotOpen(l.Name, err)
	}
	if d.seen[id] {
		return fmt.Errorf("the chain comes back to '%s'", shown(l.Name))
	}
	d.seen[id] = true
	return nil
}

// grant locks a file and hands it to the worker.
func (d *discovery) grant(f *os.File, name string) (int, error) {
	if d.files++; d.files > maxFiles {
		return 0, fmt.Errorf("the chain has more than %d files", maxFiles)
	}
	if !d.options.ForceShare {
		if err := localfile.LockRead(f, shown(name)); err != nil {
			return 0, err
		}
	}
	return d.w.Grant(f, job.Read, 0)
}

// content opens the files that hold the content of l, has extents be looked at,
// and returns its reference to the layer below, nil when it has none.
func (d *discovery) content(l *Layer) (below *job.Reference, err error) {
	refs := l.Inspection.References
	l.Files, l.ids = make([]*os.File, len(refs)), make([]int, len(refs))
	extents := false
	for i := range refs {
		l.ids[i] = -1
		extents = extents || refs[i].Kind == job.ExtentFile
		if refs[i].Kind != job.BackingFile {
			continue
		}
		if below != nil {
			return nil, errors.New("the image names two backing files")
		}
		below = &refs[i]
	}
	if d.options.Extents {
		return below, d.extents(l)
	}
	for i := range refs {
		if refs[i].Kind == job.BackingFile {
			continue
		}
		if err := d.openPart(l, i); err != nil {
			return nil, err
		}
	}
	if extents { // what is in them was not looked at before
		err = d.again(l)
	}
	return below, err
}

// openPart opens the file that a reference of l leads to, and hands it in.
func (d *discovery) openPart(l *Layer, i int) error {
	t, err := d.locate(l, &l.Inspection.References[i])
	if err != nil {
		return err
	}
	defer t.close()
	if l.Files[i], err = t.open(); err == nil {
		l.ids[i], err = d.grant(l.Files[i], t.name)
	}
	return err
}

// extents opens the extents of l that may be opened, and has it described with
// them. The others stay closed.
func (d *discovery) extents(l *Layer) error {
	refs := l.Inspection.References
	l.Files, l.ids = make([]*os.File, len(refs)), make([]int, len(refs))
	for i := range refs {
		l.ids[i] = -1
		if refs[i].Kind != job.ExtentFile {
			continue
		}
		var locked *localfile.LockError
		if err := d.openPart(l, i); errors.As(err, &locked) {
			return err
		}
	}
	return d.again(l)
}

// again has a layer described with the files that were opened for it, if there
// are any.
func (d *discovery) again(l *Layer) error {
	opened := false
	for _, f := range l.Files {
		opened = opened || f != nil
	}
	if !opened {
		return nil
	}
	first := l.Inspection
	second, err := d.w.Inspect(d.ctx, job.Inspect{ID: l.ID, Format: first.Format, Secret: d.options.Secret, Container: l.container, Files: l.ids})
	if err != nil {
		return err
	}
	if !slices.EqualFunc(first.References, second.References, sameReference) {
		return errors.New("the image has changed while it was looked at")
	}
	second.Fault, second.Resembles = first.Fault, first.Resembles
	l.Inspection = second
	return nil
}

// sameReference reports whether two references are to the same file.
func sameReference(a, b job.Reference) bool {
	return a.Kind == b.Kind && slices.Equal(a.Names, b.Names)
}

// locate finds what l names, if the policy lets it.
func (d *discovery) locate(l *Layer, ref *job.Reference) (*target, error) {
	if !d.opened {
		var err error
		if d.allowed, err = openRoots(d.options.Policy.AllowPaths); err != nil {
			return nil, err
		}
		d.opened = true
	}
	return newGate(l, d.options.Policy, d.allowed).locate(ref)
}
