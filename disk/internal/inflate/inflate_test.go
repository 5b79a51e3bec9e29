package inflate

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
	"testing"
)

func compressed(t testing.TB, data []byte, wrapped bool) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if !wrapped {
		w, _ = flate.NewWriter(&b, 6)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFill(t *testing.T) {
	data := bytes.Repeat([]byte("what is stored "), 5000)
	for name, test := range map[string]struct {
		fill    func(dst, src []byte) error
		wrapped bool
	}{"raw": {Raw, false}, "zlib": {Zlib, true}} {
		src := compressed(t, data, test.wrapped)
		for range 3 { // pooled decoders start anew
			for _, n := range []int{0, 1, len(data) - 1, len(data)} {
				dst := make([]byte, n)
				if err := test.fill(dst, src); err != nil || !bytes.Equal(dst, data[:n]) {
					t.Errorf("%s: %d bytes: %v", name, n, err)
				}
				if err := test.fill(dst, append(src[:len(src):len(src)], make([]byte, 500)...)); err != nil {
					t.Errorf("%s: %d bytes with a tail: %v", name, n, err)
				}
			}
			if err := test.fill(make([]byte, len(data)+1), src); err == nil {
				t.Errorf("%s: more than there is", name)
			}
			if err := test.fill(make([]byte, len(data)), src[:len(src)/2]); err == nil {
				t.Errorf("%s: half of the stream", name)
			}
			if err := test.fill(make([]byte, 10), []byte("no stream")); err == nil {
				t.Errorf("%s: nonsense", name)
			}
			if err := test.fill(make([]byte, 10), nil); err == nil {
				t.Errorf("%s: nothing", name)
			}
		}
	}
}

func TestZlibChecksum(t *testing.T) {
	src := compressed(t, []byte("checked"), true)
	src[len(src)-1] ^= 1
	if err := Zlib(make([]byte, 7), src); err == nil {
		t.Error("a wrong checksum passed")
	}
}

func TestZlibWhole(t *testing.T) {
	src := compressed(t, []byte("checked"), true)
	for length, want := range map[int]error{0: ErrMore, 6: ErrMore, 7: nil, 8: ErrLength} {
		if err := ZlibWhole(make([]byte, length), src); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v; want %v", length, err, want)
		}
	}
	src[len(src)-1] ^= 1
	if err := ZlibWhole(make([]byte, 7), src); !errors.Is(err, ErrChecksum) {
		t.Errorf("a wrong checksum: %v", err)
	}
}
