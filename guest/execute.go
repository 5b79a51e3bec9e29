package guest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"instar/convert"
	"instar/disk"
	"instar/job"
)

// execute carries a copy out. A host that wants it to end kills the worker.
func (s *server) execute(x *job.Execution) (*job.Message, error) {
	e, err := s.prepare(x)
	if err != nil {
		return nil, err
	}
	r, err := convert.Execute(context.Background(), e)
	if err != nil {
		return nil, err
	}
	result := &job.Result{Copied: r.Copied, Offloaded: r.Offloaded, Zeroed: r.Zeroed}
	if e.Hash != nil {
		result.Digest = &job.Digest{Sum: e.Hash.Sum(nil), Size: r.Size}
	}
	return &job.Message{Result: result}, nil
}

func (s *server) progress(done, total int64) {
	// A host that is gone is noticed when the result is sent.
	_ = s.conn.Send(&job.Message{Progress: &job.Progress{Done: done, Total: total}}, -1)
}

// warner returns what tells the host of sectors that cannot be read.
func (s *server) warner() func(off int64, status bool, err error) {
	var mu sync.Mutex
	told := 0
	return func(off int64, status bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		if told++; told > job.MaxWarnings {
			return
		}
		w := &job.Warning{Offset: off, Status: status}
		if told < job.MaxWarnings {
			w.Failure = failure(err).Error
		}
		_ = s.conn.Send(&job.Message{Warning: w}, -1)
	}
}

// prepare opens what a job names and says it in the core's terms. The
// passphrases are wiped once everything is open.
func (s *server) prepare(x *job.Execution) (convert.Execution, error) {
	defer wipe(x)
	var e convert.Execution
	s.direct = x.DirectInputs
	warn := s.warner()
	var bitmaps []disk.Bitmap
	var below disk.Disk
	var length, sparseFrom int64 // of the output, bytes
	if x.Below != nil {
		var err error
		if below, err = s.chain(*x.Below); err != nil {
			return e, err
		}
	}
	disks := make([]disk.Disk, 0, len(x.Inputs))
	for _, in := range x.Inputs {
		layers, err := s.layers(in)
		if err != nil {
			return e, err
		}
		if x.Output.Bitmaps && len(disks) == 0 {
			if bitmaps, err = soundBitmaps(layers[0]); err != nil {
				return e, err
			}
		}
		d := disk.Chain(layers...)
		switch {
		case x.Overlay && in.Solid:
			d = convert.Solid(d)
		case x.Overlay:
			if in.Above < 0 || in.Above > len(layers) {
				return e, protocol("%d layers of %d", in.Above, len(layers))
			}
			if n := in.Above; n > 1 {
				layers = append([]disk.Disk{disk.Chain(layers[:n]...)}, layers[n:]...)
			}
			d = convert.Overlay(layers, below)
		}
		if in.Start > 0 { // what an image that is laid out anew has behind the inputs
			sparseFrom = length
		}
		if d, err = convert.Tail(d, in.Start); err != nil {
			return e, err
		}
		length += (d.Size() + disk.SectorSize - 1) / disk.SectorSize * disk.SectorSize
		if x.Salvage {
			d = convert.Salvage(d, warn)
		}
		disks = append(disks, d)
	}
	if len(disks) == 0 {
		if x.OutputSize == nil || x.Window != nil {
			return e, protocol("no input")
		}
		disks = append(disks, convert.Empty((*x.OutputSize+disk.SectorSize-1)/disk.SectorSize*disk.SectorSize))
	}
	source, err := convert.Concat(disks...)
	if err != nil {
		return e, err
	}
	format, err := s.formats.Lookup(string(x.Output.Format))
	if err != nil {
		return e, err
	}
	if format.Create == nil {
		return e, &job.ReadOnlyFormatError{Format: format.Name}
	}
	t, err := s.target(x.Output.ID, x.Output.Direct)
	if err != nil {
		return e, err
	}
	t.keeps = x.Output.Existing
	h, err := newHash(x.Hash)
	if err != nil {
		return e, err
	}
	o := options(x.Output)
	o.Blank = len(x.Inputs) == 0
	if x.Output.Old != nil {
		if o.Old, err = s.open(*x.Output.Old, ""); err != nil {
			return e, err
		}
	}
	for _, f := range x.Output.Files {
		t, err := s.target(f.ID, f.Direct)
		if err != nil {
			return e, err
		}
		o.Files, o.FileNames = append(o.Files, t), append(o.FileNames, string(f.Name))
	}
	c := convert.Execution{
		Source:     source,
		Window:     x.Window,
		OutputSize: x.OutputSize,
		Create:     format.Create,
		Target:     t,
		Options:    o,
		SkipZeros:  x.SkipZeros,
		SparseFrom: sparseFrom,
		Overlay:    x.Overlay,
		Offload:    x.Offload,
		SparseSize: x.SparseSize,
		Sync:       x.Sync,
		Hash:       h,
		Rate:       x.Rate,
		Workers:    x.Workers,
		Progress:   s.progress,
	}
	if c.Workers == 0 && (t.direct >= 0 || x.DirectInputs) {
		c.Workers = directWorkers
	}
	c.Options.Bitmaps = bitmaps
	if below != nil {
		c.Below = below
	}
	return c, nil
}

// directWorkers is how many pieces are read or written at a time past the page
// cache: a worker waits for the disk then.
const directWorkers = 8

// target returns what is written to by a granted descriptor, and by another one
// of the same file for direct I/O if that is not 0.
func (s *server) target(id, direct int) (*target, error) {
	own, err := s.output(id)
	t := &target{fd: own.fd, direct: -1, reserves: own.reserves, extended: own.extended}
	if err != nil || direct == 0 {
		return t, err
	}
	other, err := s.output(direct)
	t.direct = other.fd
	return t, err
}

// output returns what was granted for writing under that number.
func (s *server) output(id int) (grant, error) {
	g, ok := s.grants[id]
	if !ok || g.access != job.Write {
		return grant{fd: -1}, protocol("descriptor %d was not granted for writing", id)
	}
	return g, nil
}

func options(o job.Output) disk.WriterOptions {
	values := map[string]string{}
	for k, v := range o.Options {
		values[k] = v
	}
	if o.ClusterSize != 0 {
		values["cluster_size"] = strconv.FormatInt(o.ClusterSize, 10)
	}
	w := disk.WriterOptions{Values: values, Existing: o.Existing, Zeroed: o.Zeroed, Compress: o.Compress, BestCompression: o.BestCompression, Name: string(o.Name), Parent: o.Parent, Time: o.Time}
	w.Secret = bytes.Clone(o.Secret) // the job's own is wiped
	copy(w.Seed[:], o.Seed)
	return w
}

// soundBitmaps returns the persistent bitmaps of an image that can be trusted.
func soundBitmaps(d disk.Disk) ([]disk.Bitmap, error) {
	source, ok := d.(disk.BitmapSource)
	if !ok {
		return nil, protocol("an input without bitmaps")
	}
	list, err := source.Bitmaps()
	return slices.DeleteFunc(list, func(b disk.Bitmap) bool { return b.Broken }), err
}

// chain opens one input.
func (s *server) chain(in job.Input) (disk.Disk, error) {
	layers, err := s.layers(in)
	if err != nil {
		return nil, err
	}
	return disk.Chain(layers...), nil
}

// layers opens the layers of one input.
func (s *server) layers(in job.Input) ([]disk.Disk, error) {
	layers := make([]disk.Disk, 0, len(in.Layers))
	for _, l := range in.Layers {
		image, err := s.open(l, "")
		if err != nil {
			return nil, err
		}
		layers = append(layers, image)
	}
	if len(layers) == 0 {
		return nil, protocol("an input without layers")
	}
	return layers, nil
}

func protocol(format string, args ...any) error {
	return &job.Error{Kind: job.ErrProtocol, Message: fmt.Sprintf(format, args...), Offset: -1}
}

func wipe(x *job.Execution) {
	wipeInputs(x.Inputs)
	if x.Below != nil {
		wipeInputs([]job.Input{*x.Below})
	}
	if x.Output.Old != nil {
		wipeLayer(*x.Output.Old)
	}
	clear(x.Output.Secret)
	clear(x.Output.Seed)
}

func wipeInputs(inputs []job.Input) {
	for _, in := range inputs {
		for _, l := range in.Layers {
			wipeLayer(l)
		}
	}
}
