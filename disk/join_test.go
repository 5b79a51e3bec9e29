package disk

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// A recorder is a target that writes down what it is asked to do.
type recorder struct {
	name  string
	calls *[]string
}

func (r recorder) say(format string, args ...any) error {
	*r.calls = append(*r.calls, r.name+" "+fmt.Sprintf(format, args...))
	return nil
}

func (r recorder) WriteAt(p []byte, off int64) (int, error) { return len(p), r.say("write %d", off) }
func (r recorder) Truncate(n int64) error                   { return r.say("truncate %d", n) }
func (r recorder) Zero(off, n int64) error                  { return r.say("zero %d %d", off, n) }
func (r recorder) Sync() error                              { return r.say("sync") }
func (r recorder) CopyFrom(_ File, at, off, n int64) (int64, error) {
	return n, r.say("copy %d %d %d", at, off, n)
}

func TestJoin(t *testing.T) {
	var calls []string
	j := Join(1000, []Target{recorder{"a", &calls}, recorder{"b", &calls}})
	if n, err := j.WriteAt(make([]byte, 10), 990); n != 10 || err != nil {
		t.Error(n, err)
	}
	if n, err := j.CopyFrom(nil, 7, 1000, 9); n != 9 || err != nil {
		t.Error(n, err)
	}
	if err := errors.Join(j.Zero(1001, 999), j.Sync()); err != nil {
		t.Error(err)
	}
	if err := j.Truncate(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	want := []string{"a write 990", "b copy 7 0 9", "b zero 1 999", "a sync", "b sync"}
	if !slices.Equal(calls, want) {
		t.Errorf("%q, want %q", calls, want)
	}
}
