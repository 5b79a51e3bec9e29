package guest

import (
	"context"
	"fmt"
	"strconv"

	"instar/convert"
	"instar/disk"
	"instar/job"
)

// prepare opens what a job names and says it in the core's terms.
func (s *server) prepare(x *job.Execution) (convert.Execution, error) {
	var e convert.Execution
	disks := make([]disk.Disk, 0, len(x.Inputs))
	for _, in := range x.Inputs {
		d, err := s.chain(in)
		if err != nil {
			return e, err
		}
		disks = append(disks, d)
	}
	if len(disks) == 0 {
		return e, protocol("no input")
	}
	source, err := convert.Concat(disks...)
	if err != nil {
		return e, err
	}
	out, ok := s.grants[x.Output.ID]
	if !ok || out.access != job.Write {
		return e, protocol("descriptor %d was not granted for writing", x.Output.ID)
	}
	format, err := s.formats.Lookup(string(x.Output.Format))
	if err != nil {
		return e, err
	}
	if format.Create == nil {
		return e, &job.NotSupportedYetError{Format: format.Name}
	}
	return convert.Execution{
		Source:     source,
		Window:     x.Window,
		OutputSize: x.OutputSize,
		Create:     format.Create,
		Target:     &target{out.fd},
		Options:    options(x.Output),
		SkipZeros:  x.SkipZeros,
		SparseSize: x.SparseSize,
		Sync:       x.Sync,
		Workers:    x.Workers,
		Progress:   s.progress,
	}, nil
}

func options(o job.Output) disk.WriterOptions {
	values := map[string]string{}
	for k, v := range o.Options {
		values[k] = v
	}
	if o.ClusterSize != 0 {
		values["cluster_size"] = strconv.FormatInt(o.ClusterSize, 10)
	}
	return disk.WriterOptions{Values: values, Existing: o.Existing, Zeroed: o.Zeroed}
}

// chain opens the layers of one input.
func (s *server) chain(in job.Input) (disk.Disk, error) {
	layers := make([]disk.Disk, 0, len(in.Layers))
	for _, l := range in.Layers {
		image, err := s.open(l.ID, l.Format, l.Files, l.Snapshot, l.Secret)
		if err != nil {
			return nil, err
		}
		layers = append(layers, image)
	}
	if len(layers) == 0 {
		return nil, protocol("an input without layers")
	}
	return disk.Chain(layers...), nil
}

func protocol(format string, args ...any) error {
	return &job.Error{Kind: job.ErrProtocol, Message: fmt.Sprintf(format, args...), Offset: -1}
}

func run(ctx context.Context, e convert.Execution) (*job.Result, error) {
	r, err := convert.Execute(ctx, e)
	if err != nil {
		return nil, err
	}
	return &job.Result{Copied: r.Copied, Offloaded: r.Offloaded, Zeroed: r.Zeroed}, nil
}
