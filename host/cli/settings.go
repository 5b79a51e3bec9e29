package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"

	"instar/host/chain"
	"instar/host/config"
	"instar/host/sandbox"
	"instar/internal/qemunum"
)

// settings are the options that every command has which reads an image.
type settings struct {
	wall      wallValue
	memory    sizeValue
	timeout   time.Duration
	allow     []string
	dataFile  bool
	verbose   bool
	share     bool
	imageOpts bool
	objects   []string
}

// wallValue is a flag that takes the name of a wall.
type wallValue struct{ sandbox.Wall }

func (v *wallValue) Set(s string) (err error) { v.Wall, err = sandbox.ParseWall(s); return err }
func (v *wallValue) String() string           { return string(v.Wall) }
func (v *wallValue) Type() string             { return "wall" }

// sizeValue is a flag that takes a number of bytes as qemu-img reads them.
type sizeValue struct {
	what     string // for the error
	min, max int64
	n        int64
	set      bool
}

func (v *sizeValue) Set(s string) (err error) {
	v.n, err = qemunum.ParseBetween(v.what, s, v.min, v.max)
	v.set = true
	return err
}
func (v *sizeValue) String() string { return "" }
func (v *sizeValue) Type() string   { return "size" }

// minMemory is what a worker needs in any case.
const minMemory = 64 << 20

func (s *settings) add(f *pflag.FlagSet) {
	s.memory = sizeValue{what: "memory", min: minMemory, max: 1 << 40}
	f.BoolVarP(&s.share, "force-share", "U", false, "open images that another program is writing to")
	f.BoolVar(&s.imageOpts, "image-opts", false, "image names are options (driver=…,file.filename=…)")
	f.StringArrayVar(&s.objects, "object", nil, "define a secret, as qemu-img does")
	f.Var(&s.wall, "sandbox", "the wall that the image is parsed behind: auto, kvm, jail or none (default auto; see instar doctor)")
	f.Var(&s.memory, "memory", "memory that the worker may use (default 256M)")
	f.DurationVar(&s.timeout, "timeout", 0, "time that the work may take, as 30s or 10m (default none; 30s for looking at an image)")
	f.StringArrayVar(&s.allow, "allow-path", nil, "a folder in which images may name other files, besides their own (repeatable)")
	f.BoolVar(&s.dataFile, "allow-data-file", false, "let an image keep its content in another file that it names")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "say on standard error which wall was used, and what it cost")
}

// A runner runs the jobs of one command: the settings, and what the
// configuration files and the environment add to them.
type runner struct {
	*program
	settings *settings
	config   config.Config
}

// check looks at what no image is needed for, and reads the configuration.
func (p *program) runner(s *settings) (*runner, error) {
	if s.imageOpts {
		return nil, errors.New("--image-opts is not supported yet: give the file's name, and its format with -f")
	}
	if len(s.objects) > 0 {
		return nil, errors.New("--object is not supported yet")
	}
	c, err := config.Load(config.Files(p.getenv)...)
	if err != nil {
		return nil, err
	}
	return &runner{program: p, settings: s, config: c}, nil
}

// start starts the worker.
func (r *runner) start(ctx context.Context) (*sandbox.Worker, error) {
	o, err := r.sandboxOptions()
	if err != nil {
		return nil, err
	}
	return sandbox.Start(ctx, o)
}

// sandboxOptions says which worker to start: flags count more than the
// environment, and that more than the configuration.
func (r *runner) sandboxOptions() (sandbox.Options, error) {
	o := sandbox.Options{Warn: r.say}
	s := r.settings
	for _, name := range []string{string(s.wall.Wall), r.getenv("INSTAR_SANDBOX"), r.config.Sandbox.Wall} {
		if name == "" {
			continue
		}
		wall, err := sandbox.ParseWall(name)
		if err != nil {
			return o, err
		}
		o.Wall = wall
		break
	}
	switch {
	case s.memory.set:
		o.Memory = s.memory.n
	case r.config.Sandbox.Memory != nil:
		o.Memory = *r.config.Sandbox.Memory
	}
	switch {
	case s.timeout < 0:
		return o, fmt.Errorf("invalid timeout %v", s.timeout)
	case s.timeout > 0:
		o.Timeout = s.timeout
	case r.config.Sandbox.Timeout != nil:
		o.Timeout = *r.config.Sandbox.Timeout
	}
	return o, nil
}

// chainOptions says how images are opened.
func (r *runner) chainOptions(format, snapshot string) chain.Options {
	c := r.config.Security
	policy := chain.Policy{AllowPaths: append(append([]string(nil), c.AllowPaths...), r.settings.allow...)}
	policy.DenyImageDir = c.ImageDir != nil && !*c.ImageDir
	policy.AllowDataFile = r.settings.dataFile || (c.AllowDataFile != nil && *c.AllowDataFile)
	if c.MaxChainDepth != nil {
		policy.MaxDepth = *c.MaxChainDepth
	}
	return chain.Options{Policy: policy, Format: format, Snapshot: snapshot, ForceShare: r.settings.share}
}

// finish ends the worker, and tells what it cost if that was asked for.
func (r *runner) finish(w *sandbox.Worker) {
	w.Close()
	if !r.settings.verbose {
		return
	}
	for _, line := range w.Report().Lines() {
		r.say(line)
	}
}

// maxSize is the greatest size of an image that can be said in bytes.
const maxSize = math.MaxInt64 - 511
