package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"instar/host/chain"
	"instar/host/localfile"
	"instar/host/output"
	"instar/host/sandbox"
	"instar/internal/imageopts"
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
	target    *image // the output, where its name is a list of options
	format    job.OutputFormat
	values    *imageopts.Values // of -o; nil without
	size      int64             // virtual size of the output, bytes
	options   output.Options
	direct    bool // the output is written past the page cache
	fixed     reproducible
	integrity integrity
	execution job.Execution
	texts     texts
	progress  *progress
	opened    []*chain.Chain // what the output must be no part of
	below     *chain.Chain   // what the output stands on; nil is nothing
	quiet     bool           // says nothing of sectors that cannot be read
	rewriting bool           // an image that is there (-n) is laid out anew
	bitmap    string         // the first that is copied
	skipped   []string       // bitmaps that are not copied
	extra     int64          // bytes that the output may take besides what its size asks for
	// fits says why an output that is there, of a size in bytes, cannot take what is
	// asked for; version2 is said of qcow2 images.
	fits func(size int64, version2 bool) error
	// created is called when the output is there; nil is nothing.
	created func(*output.File) error
	// filled is called when all is in the output, and before it is put in place;
	// nil is nothing.
	filled func() error
}

// texts are the words in which dd and convert differ.
type texts struct {
	create      string // "error while creating output image"
	read, write func(offset int64) string
}

// inputs opens the chains of the named images.
func (c *copying) inputs(ctx context.Context, names []string, snapshot string) (chains []*chain.Chain, err error) {
	defer func() {
		if err != nil {
			closeAll(chains)
		}
	}()
	for _, name := range names {
		i, err := c.settings.image(name)
		if err != nil {
			return chains, err
		}
		in, err := c.discover(ctx, c.worker, i, snapshot)
		if err != nil {
			return chains, err
		}
		chains = append(chains, in)
		if err := i.readable(in); err != nil {
			return chains, err
		}
		c.execution.Inputs = append(c.execution.Inputs, in.Input())
	}
	return chains, nil
}

func closeAll(chains []*chain.Chain) {
	for _, c := range chains {
		c.Close()
	}
}

// complete returns a [*chain.ShorterError] if a file has become shorter.
func complete(chains []*chain.Chain) error {
	for _, in := range chains {
		if err := in.Complete(); err != nil {
			return err
		}
	}
	return nil
}

// refuseSame refuses an output that is one of the inputs, under any name.
func (c *copying) refuseSame(chains []*chain.Chain) error {
	c.opened = append(c.opened, chains...)
	return c.refuseInput(c.name)
}

// refuseInput refuses to write to a file that is one of the inputs.
func (c *copying) refuseInput(name string) error {
	for _, in := range c.opened {
		for _, f := range in.Files() {
			same, err := output.Same(f, name)
			if err != nil {
				return err
			}
			if same {
				return fmt.Errorf("%s: input and output are the same file", safetext.Escape(name))
			}
		}
	}
	return nil
}

// extraFiles are the other files that the output consists of.
func (c *copying) extraFiles() ([]job.ExtraFile, error) {
	files, err := job.ExtraFiles(c.format, c.execution.Output.Options, c.name, c.size)
	if err != nil {
		return nil, c.createError(err.Error())
	}
	for _, f := range files {
		if err := c.refuseInput(f.Path); err != nil {
			return nil, err
		}
		c.options.Extra = append(c.options.Extra, f.Path)
	}
	return files, nil
}

// run makes the output and has it filled. What stood under its name is replaced
// if all goes well.
func (c *copying) run(ctx context.Context) (err error) {
	if err := c.identify(c.fixed, &c.execution.Output, c.size); err != nil {
		return err
	}
	extra, err := c.extraFiles()
	if err != nil {
		return err
	}
	c.finishing.Lock()
	defer c.finishing.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	out, err := output.Create(c.name, c.options)
	if err != nil {
		var create *output.CreateError
		var lock *localfile.LockError
		if c.rewriting && errors.As(err, &lock) {
			err = couldNotOpen(c.name, lock.Error())
		} else if errors.As(err, &create) {
			err = c.createError(err.Error())
		} else if c.target != nil {
			err = c.target.rename(err)
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
	if err := c.grantOutput(out, extra); err != nil {
		return err
	}
	var reading *reading
	if c.integrity.verify {
		if reading, err = c.openReading(out, extra); err != nil {
			return err
		}
		defer reading.close()
	}
	c.progress.begin()
	update := c.progress.update
	if reading != nil {
		update = c.progress.first
	}
	if c.filled != nil {
		update = nil // what is there is not what was asked for
	}
	c.execution.Hash = c.integrity.hash()
	c.execution.Sync = c.execution.Sync || c.integrity.verify
	result, err := c.fill(ctx, out, update)
	if err != nil {
		c.progress.leave()
		return c.explain(err)
	}
	if c.filled != nil {
		err = c.filled()
	}
	if err == nil {
		err = complete(c.opened)
	}
	if err == nil && reading != nil {
		err = c.verify(ctx, reading, result.Digest)
	}
	if err == nil {
		err = out.Commit()
	}
	if err != nil {
		c.progress.leave()
		return err
	}
	c.progress.end()
	return c.tellDigest(result.Digest)
}

// fill has the output filled.
func (c *copying) fill(ctx context.Context, out *output.File, update func(job.Progress)) (*job.Result, error) {
	if c.execution.Sync {
		stop := out.WriteBack()
		defer stop()
	}
	return c.worker.Execute(ctx, &c.execution, update, c.warn)
}

// grantOutput hands the files of the output to the worker.
func (c *copying) grantOutput(out *output.File, extra []job.ExtraFile) error {
	own, err := c.grant(out, job.ExtraFile{Name: filepath.Base(c.name), Ceiling: c.ceiling()})
	if err != nil {
		return err
	}
	o := &c.execution.Output
	o.ID, o.Direct, o.Name = own.ID, own.Direct, own.Name
	for i, f := range out.Extra() {
		granted, err := c.grant(f, extra[i])
		if err != nil {
			return err
		}
		o.Files = append(o.Files, granted)
	}
	return nil
}

// grant hands one file to the worker, twice if it is written past the page
// cache.
func (c *copying) grant(f *output.File, what job.ExtraFile) (granted job.OutputFile, err error) {
	granted.Name = []byte(what.Name)
	granted.ID, err = c.worker.Grant(f.File(), job.Write, what.Ceiling)
	if err != nil || !c.direct {
		return granted, err
	}
	direct, err := f.Direct()
	if err != nil {
		return granted, err
	}
	defer direct.Close()
	granted.Direct, err = c.worker.Grant(direct, job.Write, what.Ceiling)
	return granted, err
}

// warn tells of a sector that was taken for zeros.
func (c *copying) warn(w job.Warning) {
	if c.quiet {
		return
	}
	what := "error while reading"
	if w.Status {
		what = "error while reading block status at"
	}
	if w.Failure == nil {
		c.say(fmt.Sprintf("warning: there are more sectors that cannot be read, from offset %d on", w.Offset))
		return
	}
	errno := syscall.Errno(w.Failure.Errno)
	if errno == 0 {
		errno = syscall.EIO
	}
	c.say(fmt.Sprintf("warning: %s offset %d: %s", what, w.Offset, strerror.Errno(errno)))
}

// least returns how long the output will be at least, in bytes, when its virtual
// size is size: an image with a header may turn out short.
func (c *copying) least(size int64) int64 {
	if c.format == job.Raw {
		return size
	}
	return 1
}

// createError says why the output cannot be made.
func (c *copying) createError(why string) error {
	if c.texts.create == "" {
		return errors.New(why) // create puts the name before all that is wrong
	}
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
		if strings.HasPrefix(e.Message, "Invalid parameter '") || strings.Contains(e.Message, "' expects ") {
			return err // qemu-img finds it before it begins
		}
		switch {
		case opensNot(why):
			return couldNotOpen(c.name, why)
		case why == "invalid cluster size": // of a flat vmdk image that is to be compressed
			return errors.New(why)
		case c.texts.create == "" && (e.Errno == int(syscall.EFBIG) || isTooLarge(why)):
			why = c.tooLarge()
		case e.Errno != 0:
			why = "Could not resize file: " + why
		}
		return c.createError(why)
	case job.ErrRead:
		return errors.New(c.texts.read(e.Offset) + ": " + why + detail)
	case job.ErrWrite:
		if e.Offset < 0 { // it was the tables, at the end
			e.Offset = c.size
		}
		return errors.New(c.texts.write(e.Offset) + ": " + why)
	}
	return err
}

// isTooLarge reports whether why is what a format's writer says of a size for
// which qemu-img create has a text of its own (EFBIG).
func isTooLarge(why string) bool {
	return strings.HasSuffix(why, "Failed to grow the L1 table: File too large") || strings.HasPrefix(why, "Disk size is too large")
}

// opensNot reports whether why is what qemu-img says of an image when it opens
// what it has just made.
func opensNot(why string) bool {
	return strings.HasPrefix(why, "Unsupported image type '") || why == "L1 size too big" || why == "Error reading dynamic VHD header"
}

func (c *copying) tooLarge() string {
	hint := ""
	if imageopts.Default(string(c.format), "cluster_size") != "" {
		hint = " (try using a larger cluster size)"
	}
	return fmt.Sprintf("The image size is too large for file format '%s'%s", c.format, hint)
}

// readOnlyFormats are formats and filters of qemu's that it makes no image of.
var readOnlyFormats = map[string]bool{
	"blkdebug": true, "blklogwrites": true, "blkreplay": true, "blkverify": true, "bochs": true, "cloop": true,
	"compress": true, "copy-before-write": true, "copy-on-read": true, "dmg": true, "null-aio": true, "null-co": true,
	"preallocate": true, "quorum": true, "replication": true, "snapshot-access": true, "throttle": true, "vvfat": true,
}

// chooseFormat reads the name that -O gave, and checks the output's name, which
// is there already or is to be made; if there is no such format the error is
// unknown. What is asked for in vain comes in the order of qemu-img's.
func (c *copying) chooseFormat(name string, there bool, unknown error) error {
	if isDriver(name) {
		if err := c.openDriver(name, there); err != nil {
			return err
		}
		name = string(job.Raw)
	}
	var err error
	c.format, err = job.ParseOutputFormat(name)
	var none *job.UnknownFormatError
	if errors.As(err, &none) && !readOnlyFormats[name] {
		return unknown
	}
	if err := checkOutputName(c.name); err != nil {
		return err
	}
	if readOnlyFormats[name] {
		return noCreation(name)
	}
	return err
}

// checkOutputName refuses a protocol.
func checkOutputName(name string) error {
	_, err := localfile.Path(name)
	var protocol *localfile.ProtocolError
	if errors.As(err, &protocol) && protocol.Protocol == "json" {
		return errors.New("Unknown protocol 'json'")
	}
	return err
}

// isTerminal reports whether f is a terminal that shows a line again and again.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && terminal(file)
}
