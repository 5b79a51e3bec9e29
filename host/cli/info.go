package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"instar/host/chain"
	"instar/host/localfile"
	"instar/internal/safetext"
	"instar/job"
)

func (p *program) infoCommand() *cobra.Command {
	var (
		s          settings
		how        string
		wholeChain bool
		strict     bool
	)
	c := &cobra.Command{
		Use:   "info [OPTIONS] IMAGE",
		Short: "show what a disk image is",
		Long: `Show the format, the size and the further properties of a disk image, laid out
as qemu-img info does. Files that the image names are shown and not opened,
except with --backing-chain.

What qemu-img does not say stands under "safety": every other file that the
image names, and whether it would be followed, and what else is risky about it.
With --strict all tables of the image are checked, and the exit code is 1 if it
names any other file or is not well-formed.`,
		Example: `  instar info disk.qcow2
  instar info --output json disk.qcow2
  instar info -f raw disk.img
  instar info --strict upload.qcow2`,
	}
	f := c.Flags()
	f.StringVar(&how, "output", "human", "human or json")
	f.BoolVar(&wholeChain, "backing-chain", false, "show what the image stands on as well")
	f.BoolVar(&strict, "strict", false, "fail if the image names any other file or is not well-formed")
	s.add(f, "format")
	return p.own(c, func(ctx context.Context, args []string) error {
		if how != "human" && how != "json" {
			return errors.New("--output must be used with human or json as argument.")
		}
		if len(args) != 1 {
			return &usageError{"Expecting one image file name"}
		}
		r, err := p.runner(&s)
		if err != nil {
			return err
		}
		images, err := r.describe(ctx, args[0], wholeChain, strict)
		if err != nil {
			return err
		}
		if err := p.printInfo(images, how == "json", wholeChain); err != nil || !strict {
			return err
		}
		return images[0].unsafe()
	})
}

// describe describes the image of that name, and with wholeChain all that it
// stands on. With strict all tables of the image are checked.
func (r *runner) describe(ctx context.Context, name string, wholeChain, strict bool) ([]*imageInfo, error) {
	i, err := r.settings.image(name)
	if err != nil {
		return nil, err
	}
	w, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	defer r.finish(w)
	o := r.chainOptions(i, "")
	o.Verify, o.Extents = strict, true
	var layers []*chain.Layer
	if wholeChain {
		c, err := chain.Discover(ctx, w, i.path, o)
		if err != nil {
			return nil, i.rename(err)
		}
		defer c.Close()
		layers = c.Layers
	} else {
		l, err := chain.Inspect(ctx, w, i.path, o)
		if err != nil {
			return nil, i.rename(err)
		}
		defer l.Close()
		layers = []*chain.Layer{l}
	}
	var images []*imageInfo
	for k, l := range layers {
		i, err := newImageInfo(l)
		if err == nil {
			i.safety, err = judge(l, o.Policy, strict && k == 0)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", safetext.Escape(l.Name), err)
		}
		images = append(images, i)
	}
	return images, nil
}

// An imageInfo is what is shown of one image.
type imageInfo struct {
	*job.Inspection
	name        string
	actualSize  int64 // bytes that its files take
	children    []child
	backing     *job.Reference
	backingPath string // the backing file's name as seen from here
	safety      safety
}

func newImageInfo(l *chain.Layer) (*imageInfo, error) {
	i := &imageInfo{Inspection: l.Inspection, name: l.Name}
	nameExtents(l.Inspection.Details, l.Name)
	if err := i.addChildren(l); err != nil {
		return nil, err
	}
	for k := range l.Inspection.References {
		if ref := &l.Inspection.References[k]; ref.Kind == job.BackingFile && len(ref.Names) > 0 {
			i.backing = ref
			i.backingPath = ref.Names[0]
			if _, ok := localfile.Protocol(i.backingPath); !ok && !filepath.IsAbs(i.backingPath) {
				i.backingPath = besides(l.Name, i.backingPath)
			}
			break
		}
	}
	return i, nil
}

// nameExtents has the files of an image's extents be named as seen from here:
// the worker knows only what the image calls them, and not its own file's name.
func nameExtents(details []job.Detail, image string) {
	for _, d := range details {
		for _, extent := range d.List {
			for k := range extent.Object {
				name := &extent.Object[k]
				switch {
				case d.Key != "extents" || name.Key != "filename" || name.Text == nil:
				case *name.Text == "":
					name.Text = &image
				case !filepath.IsAbs(*name.Text):
					seen := besides(image, *name.Text)
					name.Text = &seen
				}
			}
		}
	}
}

// addChildren describes the files that are open for a layer.
func (i *imageInfo) addChildren(l *chain.Layer) error {
	c, err := newChild("file", l.Name, l.File)
	if err != nil {
		return err
	}
	i.children, i.actualSize = []child{c}, c.taken
	for k, f := range l.Files {
		if f == nil {
			continue
		}
		ref := l.Inspection.References[k]
		if c, err = newChild(fmt.Sprintf("extents.%d", k), besides(l.Name, ref.Names[0]), f); err != nil {
			return err
		}
		i.children = append(i.children, c)
		i.actualSize += c.taken
	}
	return nil
}

// besides returns the name of a file in the folder of another, without
// simplifying either.
func besides(name, other string) string {
	if filepath.IsAbs(other) {
		return other
	}
	return name[:strings.LastIndexByte(name, '/')+1] + other
}

func (p *program) printInfo(images []*imageInfo, asJSON, wholeChain bool) error {
	var text string
	if asJSON {
		objects := make([]any, len(images))
		for k, i := range images {
			objects[k] = i.object()
		}
		var w jsonWriter
		if wholeChain {
			w.value(objects, 0)
		} else {
			w.value(objects[0], 0)
		}
		text = w.String() + "\n"
	} else {
		parts := make([]string, len(images))
		for k, i := range images {
			parts[k] = i.human()
		}
		text = strings.Join(parts, "\n")
	}
	_, err := fmt.Fprint(p.stdout, text)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// object returns the description as qemu-img's JSON has it, in its order.
func (i *imageInfo) object() object {
	var o object
	children := make([]any, len(i.children))
	for k := range i.children {
		children[k] = i.children[k].object()
	}
	o.add("children", children)
	if i.backing != nil && i.backing.Format != "" {
		o.add("backing-filename-format", i.backing.Format)
	}
	if len(i.Snapshots) > 0 {
		list := make([]any, len(i.Snapshots))
		for k, s := range i.Snapshots {
			list[k] = snapshotObject(s)
		}
		o.add("snapshots", list)
	}
	o.add("virtual-size", i.VirtualSize)
	o.add("filename", i.name)
	if i.ClusterSize > 0 {
		o.add("cluster-size", i.ClusterSize)
	}
	o.add("format", i.Format)
	o.add("actual-size", i.actualSize)
	if len(i.Details) > 0 {
		o.add("format-specific", object{{"type", i.Format}, {"data", detailObject(i.Details)}})
	}
	if i.backing != nil {
		o.add("full-backing-filename", i.backingPath)
		o.add("backing-filename", i.backing.Names[0])
	}
	if i.Encrypted {
		o.add("encrypted", true)
	}
	if !withoutFlag[i.Format] {
		o.add("dirty-flag", i.Dirty)
	}
	o.add("safety", i.safety.object())
	return o
}

// withoutFlag has the formats that qemu-img knows too little of to say whether
// they were closed cleanly.
var withoutFlag = map[string]bool{"dmg": true, "parallels": true}

func snapshotObject(s job.Snapshot) object {
	var o object
	if s.ICount != nil {
		o.add("icount", *s.ICount)
	}
	o.add("vm-clock-nsec", s.ClockNanos%1e9)
	o.add("name", s.Name)
	o.add("date-sec", s.Seconds)
	o.add("date-nsec", s.Nanoseconds)
	o.add("vm-clock-sec", s.ClockNanos/1e9)
	o.add("id", s.ID)
	o.add("vm-state-size", s.VMStateSize)
	return o
}

func detailObject(details []job.Detail) object {
	var o object
	for _, d := range details {
		o.add(d.Key, detailValue(d))
	}
	return o
}

func detailValue(d job.Detail) any {
	switch {
	case d.Text != nil:
		return *d.Text
	case d.Flag != nil:
		return *d.Flag
	case d.Number != nil:
		return *d.Number
	case d.Object != nil:
		return detailObject(d.Object)
	default: // an empty list does not travel, and there are no empty objects
		list := make([]any, len(d.List))
		for k, item := range d.List {
			list[k] = detailValue(item)
		}
		return list
	}
}
