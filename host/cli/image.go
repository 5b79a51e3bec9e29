package cli

import (
	"context"
	"fmt"
	"strings"

	"instar/host/chain"
	"instar/host/localfile"
	"instar/host/sandbox"
	"instar/internal/safetext"
	"instar/job"
)

// formatValue is the flag -f. That it was given counts, also if it is empty.
type formatValue struct {
	name  string
	given bool
}

func (v *formatValue) Set(s string) error { v.name, v.given = s, true; return nil }
func (v *formatValue) String() string     { return v.name }
func (v *formatValue) Type() string       { return "format" }

// An image is one as the command line names it.
type image struct {
	given  string // what messages call it
	path   string
	format string // "" has it detected
	secret []byte // nil for none
	direct bool   // it is to be read or written past the page cache
	// container is what the image is encrypted in; nil where it is the file itself.
	container *job.Container
	share     bool // it may be open elsewhere for writing
	part      *job.Part
	// readOnly says that nothing may be written to it.
	readOnly bool
}

// image reads the name of an image: that of a file, or with --image-opts a list
// of options.
func (s *settings) image(given string) (image, error) {
	switch {
	case s.imageOpts && s.format.given:
		return image{}, errBothFormats
	case s.imageOpts:
		return s.imageFromOptions(given)
	case s.format.given && s.format.name == "":
		return image{}, couldNotOpen(given, "Unknown driver ''")
	case strings.HasPrefix(given, jsonPrefix):
		return s.imageFromJSON(given)
	}
	i := image{given: given, path: given, format: s.format.name}
	if isDriver(i.format) {
		if err := opens(i.format, given); err != nil {
			return image{}, couldNotOpen(given, err.Error())
		}
		i.format = string(job.Raw)
	}
	return i, nil
}

// discover opens an image and all that it stands on, to be read.
func (r *runner) discover(ctx context.Context, w *sandbox.Worker, i image, snapshot string) (*chain.Chain, error) {
	if i.container != nil && i.container.Secret == nil && len(r.passphrase) == 0 {
		var err error
		if r.passphrase, err = r.ask(ctx, i); err != nil {
			return nil, err
		}
	}
	o := r.chainOptions(i, snapshot)
	c, err := chain.Discover(ctx, w, i.path, o)
	if err != nil {
		return nil, i.rename(err)
	}
	if len(o.Secret) > 0 || !locked(c) {
		return c, nil
	}
	switch r.passphrase, err = r.ask(ctx, i); {
	case err != nil:
		c.Close()
		return nil, err
	case len(r.passphrase) == 0:
		return c, nil
	}
	c.Close()
	if c, err = chain.Discover(ctx, w, i.path, r.chainOptions(i, snapshot)); err != nil {
		return nil, i.rename(err)
	}
	return c, nil
}

// inspect opens an image alone, and has it described.
func (r *runner) inspect(ctx context.Context, w *sandbox.Worker, i image) (*chain.Layer, error) {
	l, err := chain.Inspect(ctx, w, i.path, r.chainOptions(i, ""))
	if err != nil {
		return nil, i.rename(err)
	}
	return l, nil
}

// chainOptions says how an image is opened.
func (r *runner) chainOptions(i image, snapshot string) chain.Options {
	c := r.config.Security
	policy := chain.Policy{
		AllowPaths:    append(append([]string(nil), c.AllowPaths...), r.settings.allow...),
		DenyImageDir:  c.ImageDir != nil && !*c.ImageDir,
		AllowDataFile: r.settings.dataFile || (c.AllowDataFile != nil && *c.AllowDataFile),
	}
	switch {
	case r.settings.depth.n > 0:
		policy.MaxDepth = r.settings.depth.n
	case c.MaxChainDepth != nil:
		policy.MaxDepth = *c.MaxChainDepth
	}
	secret := i.secret
	if secret == nil {
		secret = r.passphrase
	}
	container := i.container
	if container != nil && container.Secret == nil {
		container = &job.Container{Format: container.Format, Secret: r.passphrase}
	}
	return chain.Options{
		Policy: policy, Format: i.format, Snapshot: snapshot, Secret: secret, Container: container, Part: i.part, ForceShare: r.settings.share || i.share,
	}
}

// readable returns why the content of a chain cannot be read, as when it is
// encrypted and there is no passphrase.
func (i image) readable(c *chain.Chain) error {
	for depth, l := range c.Layers {
		if why := l.Inspection.Refused; why != "" {
			frames := strings.Repeat("Could not open backing file: ", depth)
			return couldNotOpen(i.given, frames+safetext.Escape(safetext.Limit(why, maxReason)))
		}
	}
	return nil
}

// maxReason bounds what an image can say about itself in an error, in bytes.
const maxReason = 4096

// couldNotOpen is qemu-img's frame around why an image cannot be opened; why is
// fit to be shown.
func couldNotOpen(given, why string) error {
	return fmt.Errorf("Could not open '%s': %s", safetext.Escape(given), why)
}

// A renamedError has the file that an error is about called as the user did.
type renamedError struct {
	text string
	err  error
}

func (e *renamedError) Error() string { return e.text }
func (e *renamedError) Unwrap() error { return e.err }

// rename has an error of package chain call the image as the user did.
func (i image) rename(err error) error {
	if i.given == i.path {
		return err
	}
	frame := couldNotOpen(i.path, "").Error()
	if why, ok := strings.CutPrefix(err.Error(), frame); ok {
		return &renamedError{text: couldNotOpen(i.given, why).Error(), err: err}
	}
	return err
}

// literalPath returns a path that is not taken for a protocol and something.
func literalPath(path string) string {
	if _, ok := localfile.Protocol(path); ok {
		return "./" + path
	}
	return path
}
