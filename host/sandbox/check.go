package sandbox

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"instar/internal/safetext"
	"instar/job"
)

// Bounds on what a worker may say. A worker that goes beyond them is taken for
// hostile.
const (
	maxText       = 4096  // bytes of one name or message
	maxReferences = 2048  // a VMDK may have an extent for every 2 GiB
	maxDetails    = 65536 // fields of a description, nested ones included
	maxDepth      = 8     // nesting of a description
	maxErrno      = 4095
	maxOptions    = 64
)

func isFormatName(s string) bool {
	const rest = "abcdefghijklmnopqrstuvwxyz0123456789-"
	return len(s) > 0 && len(s) <= 32 && 'a' <= s[0] && s[0] <= 'z' && strings.Trim(s, rest) == ""
}

// errHostile is what a worker's nonsense is reported as.
var errHostile = errors.New("the worker gave an answer that makes no sense")

func hostile(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errHostile, fmt.Sprintf(format, args...))
}

// checkInspection refuses what no honest worker would say of an image.
func checkInspection(i *job.Inspection) error {
	if !isFormatName(i.Format) {
		return hostile("format %q", safetext.Limit(i.Format, 40))
	}
	if i.VirtualSize < 0 || i.VirtualSize > math.MaxInt64-511 || i.VirtualSize%512 != 0 {
		return hostile("virtual size %d", i.VirtualSize)
	}
	if i.Resembles != "" && !isFormatName(i.Resembles) {
		return hostile("an image like format %q", safetext.Limit(i.Resembles, 40))
	}
	if len(i.Fault) > maxText {
		return hostile("a fault of %d bytes", len(i.Fault))
	}
	if i.ClusterSize < 0 {
		return hostile("cluster size %d", i.ClusterSize)
	}
	if len(i.Lost) > maxText {
		return hostile("a loss of %d bytes", len(i.Lost))
	}
	if err := checkOptions(i.Options); err != nil {
		return err
	}
	if len(i.References) > maxReferences {
		return hostile("%d references", len(i.References))
	}
	for _, r := range i.References {
		if err := checkReference(r); err != nil {
			return err
		}
	}
	left := maxDetails
	return checkDetails(i.Details, maxDepth, &left)
}

// checkOptions refuses options that no image is created by.
func checkOptions(options map[string]string) error {
	if len(options) > maxOptions {
		return hostile("%d options", len(options))
	}
	for name, value := range options {
		if len(name) > maxText || len(value) > maxText {
			return hostile("an option of %d bytes", len(name)+len(value))
		}
	}
	return nil
}

func checkReference(r job.Reference) error {
	switch r.Kind {
	case job.BackingFile, job.DataFile, job.ExtentFile:
	default:
		return hostile("reference of kind %q", safetext.Limit(r.Kind, 40))
	}
	if len(r.Names) == 0 || len(r.Names) > 16 {
		return hostile("reference with %d names", len(r.Names))
	}
	for _, name := range r.Names {
		if len(name) > maxText {
			return hostile("name of %d bytes", len(name))
		}
	}
	if r.Format != "" && len(r.Format) > maxText {
		return hostile("format name of %d bytes", len(r.Format))
	}
	return nil
}

func checkDetails(details []job.Detail, depth int, left *int) error {
	if *left -= len(details); *left < 0 || depth == 0 {
		return hostile("description too large")
	}
	for _, d := range details {
		if err := checkDetails(d.Object, depth-1, left); err != nil {
			return err
		}
		if err := checkDetails(d.List, depth-1, left); err != nil {
			return err
		}
	}
	return nil
}

// checkProgress refuses what cannot be a part of a whole.
func checkProgress(p *job.Progress) error {
	if p.Done < 0 || p.Total < 0 || p.Done > p.Total {
		return hostile("progress %d of %d", p.Done, p.Total)
	}
	return nil
}

// checkResult refuses what cannot come of an execution, which was to compute a
// digest unless hash is empty.
func checkResult(r *job.Result, hash job.Hash) error {
	switch {
	case r.Copied < 0 || r.Offloaded < 0 || r.Zeroed < 0:
		return hostile("result %+v", *r)
	case hash == "" && r.Digest != nil:
		return hostile("a digest that nobody asked for")
	case hash == "":
		return nil
	case r.Digest == nil:
		return hostile("no digest")
	}
	return checkDigest(r.Digest)
}

func checkDigest(d *job.Digest) error {
	switch {
	case len(d.Sum) != job.DigestSize:
		return hostile("a digest of length %d", len(d.Sum))
	case d.Size < 0 || d.Size > math.MaxInt64-511 || d.Size%512 != 0:
		return hostile("the digest of %d bytes", d.Size)
	}
	return nil
}

func checkComparison(c *job.Comparison) error {
	if c.Offset < -1 || (c.Offset < 0 && (c.Status || c.Failure != nil)) {
		return hostile("comparison %+v", *c)
	}
	return nil
}

// cleanError returns e fit to be shown: bounded, one line, nothing that a
// terminal would act on.
func cleanError(e *job.Error) *job.Error {
	c := *e
	c.Message = safetext.Escape(safetext.Limit(c.Message, maxText))
	if c.Errno < 0 || c.Errno > maxErrno {
		c.Errno = 0
	}
	return &c
}
