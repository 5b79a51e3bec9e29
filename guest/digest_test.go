package guest_test

import (
	"encoding/hex"
	"path/filepath"
	"testing"

	"instar/job"
)

// pattern is the input of BLAKE3's own test vectors.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// TestDigests: what is computed while content is copied, and what is computed
// of content that is there, is what others say of it.
func TestDigests(t *testing.T) {
	for _, test := range []struct {
		hash    job.Hash
		content []byte
		want    string
	}{
		{job.SHA256, nil, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{job.BLAKE3, nil, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
		{job.BLAKE3, pattern(1024), "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
		{job.BLAKE3, pattern(102400), "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"},
	} {
		h := serve(t)
		id := h.grant(file(t, "in", test.content), job.Read)
		input := layers(job.Layer{ID: id, Format: "raw"})
		result, err := h.execute(job.Execution{
			Inputs: input, Hash: test.hash,
			Output: job.Output{ID: h.grant(filepath.Join(t.TempDir(), "out"), job.Write), Format: job.Raw},
		})
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(test.content))
		if d := result.Digest; d == nil || hex.EncodeToString(d.Sum) != test.want || d.Size != size {
			t.Errorf("%s of a copy of %d bytes: %+v", test.hash, size, d)
		}
		answer, _ := h.ask(&job.Message{Sum: &job.Sum{Input: input[0], Hash: test.hash, Size: size}})
		if d := answer.Digest; d == nil || hex.EncodeToString(d.Sum) != test.want || d.Size != size {
			t.Errorf("%s of %d bytes: %+v, %v", test.hash, size, d, answer.Error)
		}
	}
}

// TestNoDigest: what is no question for a digest is refused, and a copy that
// fails has none.
func TestNoDigest(t *testing.T) {
	h := serve(t)
	id := h.grant(file(t, "in", make([]byte, 1024)), job.Read)
	out := job.Output{ID: h.grant(filepath.Join(t.TempDir(), "out"), job.Write), Format: job.Raw}
	input := job.Input{Layers: []job.Layer{{ID: id, Format: "raw"}}}
	for what, m := range map[string]*job.Message{
		"no hash":           {Sum: &job.Sum{Input: input, Size: 512}},
		"another hash":      {Sum: &job.Sum{Input: input, Size: 512, Hash: "md5"}},
		"more than there":   {Sum: &job.Sum{Input: input, Size: 1536, Hash: job.SHA256}},
		"less than nothing": {Sum: &job.Sum{Input: input, Size: -512, Hash: job.SHA256}},
		"half a sector":     {Sum: &job.Sum{Input: input, Size: 256, Hash: job.SHA256}},
		"nothing granted":   {Sum: &job.Sum{Input: job.Input{Layers: []job.Layer{{ID: 99, Format: "raw"}}}, Hash: job.SHA256}},
		"no layers":         {Sum: &job.Sum{Hash: job.SHA256}},
		"a copy with it":    {Execute: &job.Execution{Inputs: []job.Input{input}, Output: out, Hash: "md5"}},
	} {
		if answer, _ := h.ask(m); answer.Error == nil || answer.Error.Kind != job.ErrProtocol {
			t.Errorf("%s: got %+v", what, answer)
		}
	}
	if result, err := h.execute(job.Execution{Inputs: []job.Input{input}, Output: out}); err != nil || result.Digest != nil {
		t.Errorf("a digest that nobody asked for: %+v, %v", result, err)
	}
}
