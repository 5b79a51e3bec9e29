package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"instar/host/sandbox"
	"instar/internal/keyval"
	"instar/internal/safetext"
	"instar/job"
)

// snapshotValue is the flag -l: the ID or name of an internal snapshot, or
// snapshot.id=ID,snapshot.name=NAME.
type snapshotValue struct {
	set      bool
	given    string
	id, name *string
}

func (v *snapshotValue) Set(s string) error {
	*v = snapshotValue{set: true, given: s}
	if !strings.HasPrefix(s, "snapshot.") {
		return nil
	}
	for _, kv := range keyval.Parse(s) {
		switch kv.Name {
		case "snapshot.id":
			v.id = &kv.Value
		case "snapshot.name":
			v.name = &kv.Value
		default:
			return &furtherError{
				text:    fmt.Sprintf("Invalid parameter '%s'", safetext.Escape(kv.Name)),
				further: fmt.Sprintf("Failed in parsing snapshot param '%s'", safetext.Escape(s)),
			}
		}
	}
	return nil
}
func (v *snapshotValue) String() string { return v.given }
func (v *snapshotValue) Type() string   { return "snapshot" }

// matches reports whether a snapshot has the ID and the name that were given.
func (v *snapshotValue) matches(s job.Snapshot) bool {
	return (v.id == nil || *v.id == s.ID) && (v.name == nil || *v.name == s.Name)
}

// snapshotError words why a snapshot cannot be had.
type snapshotError struct{ why string }

func (e *snapshotError) Error() string { return "Failed to load snapshot: " + e.why }

// findSnapshot returns by what the worker knows the snapshot of an image.
func (r *runner) findSnapshot(ctx context.Context, w *sandbox.Worker, name string, v snapshotValue) (string, error) {
	switch {
	case v.given == "":
		return "", &snapshotError{"Can't find snapshot"}
	case v.id == nil && v.name == nil:
		return v.given, nil
	}
	i, err := r.settings.image(name)
	if err != nil {
		return "", err
	}
	l, err := r.inspect(ctx, w, i)
	if err != nil {
		return "", err
	}
	defer l.Close()
	defer w.Revoke(l.ID)
	for _, s := range l.Inspection.Snapshots {
		if v.matches(s) {
			return s.ID, nil
		}
	}
	return "", &snapshotError{"Can't find snapshot"}
}

// unframeSnapshot takes qemu-img's frame from around what is wrong with a
// snapshot, which it does without.
func unframeSnapshot(err error) error {
	var e *job.Error
	if errors.As(err, &e) {
		if why, ok := strings.CutPrefix(e.Message, (&snapshotError{}).Error()); ok {
			return &snapshotError{why}
		}
	}
	return err
}
