package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"instar/host/config"
	"instar/host/sandbox"
	"instar/internal/qemunum"
	"instar/internal/safetext"
)

// settings are the options that every command has which reads an image.
type settings struct {
	wall      wallValue
	memory    sizeValue
	timeout   timeoutValue
	allow     []string
	depth     depthValue
	dataFile  bool
	verbose   bool
	share     bool
	format    formatValue
	imageOpts bool
	secrets   secrets
	unlock    passphraseFlags
	warn      func(text string) // nil for nowhere
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

// timeoutValue is a flag that takes a time.
type timeoutValue struct{ time.Duration }

func (v *timeoutValue) Set(s string) (err error) {
	if v.Duration, err = time.ParseDuration(s); err != nil || v.Duration <= 0 {
		return fmt.Errorf("invalid timeout '%s': give a time as in 30s or 10m", safetext.Escape(s))
	}
	return nil
}
func (v *timeoutValue) String() string { return "" }
func (v *timeoutValue) Type() string   { return "time" }

// depthValue is a flag that takes a number of images; 0 is none given.
type depthValue struct{ n int }

func (v *depthValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > config.MaxChainDepth {
		return fmt.Errorf("invalid depth '%s': give a number from 1 to %d", safetext.Escape(s), config.MaxChainDepth)
	}
	v.n = n
	return nil
}
func (v *depthValue) String() string { return "" }
func (v *depthValue) Type() string   { return "number" }

// minMemory is what a worker needs in any case.
const minMemory = 64 << 20

// add adds the flags; formatName is the long name of -f, in which the commands
// differ.
func (s *settings) add(f *pflag.FlagSet, formatName string) {
	f.VarP(&s.format, formatName, "f", "format of the image that is read (default: detected)")
	f.BoolVar(&s.imageOpts, "image-opts", false, "the name of the image is options: driver=FORMAT,file.filename=NAME")
	f.BoolVarP(&s.share, "force-share", "U", false, "open images that another program is writing to")
	s.addShared(f)
}

// addShared adds the flags that a command has which reads an image perhaps.
func (s *settings) addShared(f *pflag.FlagSet) {
	f.Var(&s.secrets, "object", "define a passphrase: secret,id=ID,data=TEXT or secret,id=ID,file=NAME")
	s.unlock.add(f)
	s.addWall(f)
	f.StringArrayVar(&s.allow, "allow-path", nil, "a folder in which images may name other files, besides their own (repeatable)")
	f.Var(&s.depth, "max-chain-depth", "images in one chain at most, the topmost included (default 16)")
	f.BoolVar(&s.dataFile, "allow-data-file", false, "let an image keep its content in another file that it names")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "say on standard error which wall was used, and what it cost")
}

// addWall adds the flags that say how the worker is walled in.
func (s *settings) addWall(f *pflag.FlagSet) {
	s.memory = sizeValue{what: "memory", min: minMemory, max: 1 << 40}
	f.Var(&s.wall, "sandbox", "the wall that the image is parsed behind: auto, kvm, jail or none (default auto; see instar doctor)")
	f.Var(&s.memory, "memory", "memory that the worker may use (default 256M)")
	f.Var(&s.timeout, "timeout", "time that the work may take, as 30s or 10m (default none; 30s for looking at an image)")
}

// A runner runs the jobs of one command: the settings, and what the
// configuration files and the environment add to them.
type runner struct {
	*program
	settings   *settings
	config     config.Config
	passphrase []byte // of encrypted images; nil for none
}

// runner reads the configuration.
func (p *program) runner(s *settings) (*runner, error) {
	if slices.Contains(s.allow, "") {
		return nil, errors.New("--allow-path needs the name of a folder")
	}
	c, err := config.Load(config.Files(p.getenv)...)
	if err != nil {
		return nil, err
	}
	passphrase, err := s.unlock.read(p.getenv)
	if err != nil {
		return nil, err
	}
	s.warn = func(text string) { p.say("warning: " + text) }
	return &runner{program: p, settings: s, config: c, passphrase: passphrase}, nil
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
	o := sandbox.Options{Warn: r.say, Executable: r.worker}
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
		o.Memory = max(*r.config.Sandbox.Memory, minMemory)
	}
	switch {
	case s.timeout.Duration > 0:
		o.Timeout = s.timeout.Duration
	case r.config.Sandbox.Timeout != nil:
		o.Timeout = *r.config.Sandbox.Timeout
	}
	return o, nil
}

// finish ends the worker, and tells what it cost if that was asked for.
func (r *runner) finish(w *sandbox.Worker) {
	w.Close()
	clear(r.passphrase)
	r.tellReport("", w)
}

// tellReport tells what an ended worker cost, if that was asked for.
func (r *runner) tellReport(prefix string, w *sandbox.Worker) {
	if !r.settings.verbose {
		return
	}
	for _, line := range w.Report().Lines() {
		r.say(prefix + line)
	}
}

// maxSize is the greatest size of an image that can be said in bytes.
const maxSize = math.MaxInt64 - 511
