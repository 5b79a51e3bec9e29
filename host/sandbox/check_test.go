package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode"

	"instar/job"
)

// FuzzAnswer has the host take whatever a worker sends: it is refused, or it is
// within bounds and fit to be shown.
func FuzzAnswer(f *testing.F) {
	for _, m := range []job.Message{
		{Inspection: &sound},
		{Inspection: &job.Inspection{Format: "qcow2", VirtualSize: 1 << 40, References: []job.Reference{{Kind: job.BackingFile, Names: []string{"a", "b"}}}}},
		{Error: &job.Error{Kind: job.ErrOpen, Message: "a\x1b[31mb", Errno: 5}},
		{Progress: &job.Progress{Done: 1, Total: 2}},
		{Result: &job.Result{Copied: 1}},
		{Result: &job.Result{Digest: &job.Digest{Sum: make([]byte, 32), Size: 512}}},
		{Digest: &job.Digest{Sum: []byte{1}, Size: 1}},
		{Comparison: &job.Comparison{Offset: -1}},
		{Comparison: &job.Comparison{Offset: 512, Failure: &job.Error{Kind: job.ErrRead, Message: "a"}}},
		{Hello: &job.Hello{}},
	} {
		body, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, n, err := job.Decode(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...))
		if err != nil {
			return
		}
		if m == nil || n != len(body)+4 {
			t.Fatalf("%d of %d bytes are a message", n, len(body)+4)
		}
		switch {
		case m.Inspection != nil && checkInspection(m.Inspection) == nil:
			i := m.Inspection
			if i.VirtualSize < 0 || i.VirtualSize > math.MaxInt64-511 || len(i.References) > maxReferences || len(i.Format) > 32 {
				t.Errorf("%+v went through", i)
			}
		case m.Progress != nil && checkProgress(m.Progress) == nil:
			if p := m.Progress; p.Done < 0 || p.Done > p.Total {
				t.Errorf("%+v went through", p)
			}
		case m.Digest != nil && checkDigest(m.Digest) == nil:
			if d := m.Digest; len(d.Sum) != job.DigestSize || d.Size < 0 || d.Size%512 != 0 {
				t.Errorf("%+v went through", d)
			}
		case m.Comparison != nil && checkComparison(m.Comparison) == nil:
			if c := m.Comparison; c.Offset < -1 || (c.Offset < 0 && c.Failure != nil) {
				t.Errorf("%+v went through", c)
			}
		case m.Error != nil:
			e := cleanError(m.Error)
			if strings.ContainsFunc(e.Message, unicode.IsControl) || len(e.Message) > 10*maxText || e.Errno < 0 || e.Errno > maxErrno {
				t.Errorf("%+v went through", e)
			}
		}
	})
}
