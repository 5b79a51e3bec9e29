package guest

import (
	"errors"
	"syscall"

	"instar/convert"
	"instar/disk"
	"instar/job"
)

// failure returns the message that says what went wrong.
func failure(err error) *job.Message {
	var e *job.Error
	if errors.As(err, &e) {
		return &job.Message{Error: e}
	}
	e = &job.Error{Kind: job.ErrOpen, Message: err.Error(), Offset: -1}
	var errno syscall.Errno
	var worded *disk.WordedError
	if errors.As(err, &errno) && !errors.As(err, &worded) {
		e.Errno = int(errno)
	}
	var (
		read        *convert.ReadError
		create      *convert.CreateError
		write       *convert.WriteError
		unsupported *disk.UnsupportedError
		unknown     *disk.UnknownFormatError
		passphrase  *disk.PassphraseError
	)
	switch {
	case errors.As(err, &read):
		e.Kind, e.Offset, e.Message = job.ErrRead, read.Offset, read.Err.Error()
	case errors.As(err, &create):
		e.Kind, e.Message = job.ErrCreate, create.Err.Error()
	case errors.As(err, &write):
		e.Kind, e.Offset, e.Message = job.ErrWrite, write.Offset, write.Err.Error()
	case errors.As(err, &unknown):
		e.Kind = job.ErrFormat
	case errors.As(err, &passphrase):
		e.Kind = job.ErrSecret
	case errors.As(err, &unsupported):
		e.Kind = job.ErrUnsupported
	}
	return &job.Message{Error: e}
}

// describe says in a job's terms what an image says about itself.
func describe(i *disk.Info) *job.Inspection {
	d := &job.Inspection{
		Format:      i.Format,
		VirtualSize: i.VirtualSize,
		ClusterSize: i.ClusterSize,
		Encrypted:   i.Encrypted,
		Compressed:  i.Compressed,
		Dirty:       i.Dirty,
		Identity:    i.Identity,
		Options:     i.Options,
		Lost:        i.Lost,
		Details:     details(i.Details),
	}
	if i.Refused != nil {
		d.Refused, d.RefusedKind = i.Refused.Error(), failure(i.Refused).Error.Kind
	}
	for _, r := range i.References {
		d.References = append(d.References, job.Reference{Kind: string(r.Kind), Names: r.Names, Format: r.Format, Identity: r.Identity})
	}
	for _, s := range i.Snapshots {
		d.Snapshots = append(d.Snapshots, job.Snapshot(s))
	}
	return d
}

func details(in []disk.Detail) []job.Detail {
	out := make([]job.Detail, 0, len(in))
	for _, d := range in {
		out = append(out, detail(d.Key, d.Value))
	}
	return out
}

func detail(key string, value any) job.Detail {
	d := job.Detail{Key: key}
	switch v := value.(type) {
	case string:
		d.Text = &v
	case bool:
		d.Flag = &v
	case int64:
		d.Number = &v
	case []disk.Detail:
		d.Object = details(v)
	case []any:
		d.List = []job.Detail{}
		for _, item := range v {
			d.List = append(d.List, detail("", item))
		}
	}
	return d
}
