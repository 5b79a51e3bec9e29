package guest

import (
	"context"
	"errors"

	"instar/convert"
	"instar/disk"
	"instar/job"
)

// compare compares two chains of layers. The passphrases are wiped once
// everything is open.
func (s *server) compare(x *job.Compare) (*job.Message, error) {
	defer wipeInputs(x.Inputs[:])
	var disks [2]disk.Disk
	for k, in := range x.Inputs {
		var err error
		if disks[k], err = s.chain(in); err != nil {
			return nil, err
		}
	}
	wipeInputs(x.Inputs[:])
	d, err := convert.Compare(context.Background(), convert.Comparison{
		A: disks[0], B: disks[1], Strict: x.Strict, Progress: s.progress,
	})
	var failed *convert.CompareError
	switch {
	case errors.As(err, &failed):
		c := &job.Comparison{Offset: failed.Offset, Status: failed.Status, Second: failed.Second, Failure: failure(failed.Err).Error}
		return &job.Message{Comparison: c}, nil
	case err != nil:
		return nil, err
	}
	return &job.Message{Comparison: &job.Comparison{Offset: d.Offset, Status: d.Status}}, nil
}
