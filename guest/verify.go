package guest

import (
	"errors"
	"fmt"

	"instar/disk"
	"instar/job"
)

// verify returns what is wrong with the tables of an image and of its internal
// snapshots, "" for nothing. Content is not read.
func verify(image disk.Image) string {
	info := image.Info()
	if info.Refused != nil {
		return info.Refused.Error()
	}
	if err := verifyImage(image); err != nil {
		return err.Error()
	}
	snapshotted, ok := image.(disk.Snapshotted)
	if !ok {
		return ""
	}
	for k, s := range info.Snapshots {
		snapshot, err := snapshotted.Snapshot(k)
		if err == nil {
			err = verifyImage(snapshot)
		}
		if err != nil {
			return fmt.Sprintf("snapshot %q: %v", s.ID, err)
		}
	}
	return ""
}

// verifyImage looks at the tables of an image, or of a snapshot.
func verifyImage(image disk.Image) error {
	if err := verifyRuns(image); err != nil {
		return err
	}
	if c, ok := image.(disk.Checker); ok {
		return c.Check()
	}
	return nil
}

// verifyRuns lists the runs of an image. What is stored must be there; a raw one is
// all that its file has, up to the end of a sector.
func verifyRuns(image disk.Image) error {
	raw := image.Info().Format == string(job.Raw)
	var in disk.File
	var size int64
	for off := int64(0); off < image.Size(); {
		e, err := image.Extent(off, image.Size()-off)
		var missing *disk.MissingReferenceError
		switch {
		case errors.As(err, &missing):
			return nil // that it is wanted is known
		case err != nil:
			return err
		}
		if e.Kind == disk.Data && !raw {
			if e.File != in {
				if size, err = e.File.Size(); err != nil {
					return err
				}
				in = e.File
			}
			if e.Offset > size-e.Length {
				return fmt.Errorf("what is stored at offset %#x with length %#x reaches beyond the end of the file", e.Offset, e.Length)
			}
		}
		off = e.End()
	}
	return nil
}
