package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"instar/disk"
)

// A WriterConfig is a way in which a format is written.
type WriterConfig struct {
	Format disk.Format
	// Values are the options of the format (-o). Units should be small: images
	// of a few MiB are written in memory.
	Values map[string]string
	// NoDevice says that the format cannot be written to a device.
	NoDevice bool
	// NotEmpty says that an image of size 0 cannot be made.
	NotEmpty bool
}

// RunWriter tests that what is written as [disk.Writer] says can be read, dense
// or sparse, into an empty file or over what is on a device; that equal input
// gives equal output; and that an image opens when it is complete, and not
// before.
func RunWriter(t *testing.T, c WriterConfig) {
	t.Helper()
	for _, size := range []int64{0, 512, 1 << 20, 3<<20 + 7*512} {
		for name, o := range map[string]disk.WriterOptions{
			"sparse":          {Zeroed: true},
			"dense":           {Zeroed: true, Dense: true},
			"device":          {Existing: true},
			"dense on device": {Existing: true, Dense: true},
		} {
			if o.Existing && c.NoDevice || size == 0 && c.NotEmpty {
				continue
			}
			o.Values, o.Seed, o.Time = c.Values, [32]byte{byte(size)}, 1<<30
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				t.Parallel()
				first := c.write(t, size, o)
				if again := c.write(t, size, o); !bytes.Equal(first, again) {
					t.Error("written again, it is another image")
				}
			})
		}
	}
}

// write writes an image and reads it back.
func (c WriterConfig) write(t *testing.T, size int64, o disk.WriterOptions) []byte {
	target := NewTarget(nil)
	if o.Existing {
		target = NewTarget(bytes.Repeat([]byte{0xe5}, 32<<20))
	}
	target.Before = func(p []byte) {
		if _, err := c.Format.Open(File(p), disk.OpenOptions{}); err == nil {
			t.Fatal("it opens before it is complete")
		}
	}
	w, err := c.Format.Create(target, size, o)
	if err != nil {
		t.Fatal(err)
	}
	content := fill(t, w, target, size)
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	img, err := c.Format.Open(File(target.Bytes()), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if img.Size() < size {
		t.Fatalf("%d bytes, want %d", img.Size(), size)
	}
	got := make([]byte, img.Size())
	if err := disk.ReadStored(img, got, 0); err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		if want := at(content, i); b != want {
			t.Fatalf("byte %d is %#x, want %#x", i, b, want)
		}
	}
	return target.Bytes()
}

func at(content []byte, i int) byte {
	if i < len(content) {
		return content[i]
	}
	return 0
}

// fill gives a writer runs of content and of zeros, and returns what they make.
func fill(t *testing.T, w disk.Writer, target disk.Target, size int64) []byte {
	r := random()
	content := make([]byte, size)
	for off := int64(0); off < size; {
		end := min(off+w.Unit()*(1+r.Int64N(max(size/w.Unit(), 4)/4)), size)
		part := content[off:end]
		zero := r.IntN(2) == 0
		if zero {
			err := w.Zero(off, end-off)
			if err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatal(err)
			}
			zero = err == nil
		} else {
			noise(r, part)
		}
		for done := int64(0); !zero && off+done < end; {
			at, n, err := w.Place(off+done, end-off-done)
			if err != nil {
				t.Fatal(err)
			}
			if n <= 0 || off+done+n > end || (n%w.Unit() != 0 && off+done+n != end) {
				t.Fatalf("Place(%d, %d) has room for %d", off+done, end-off-done, n)
			}
			if _, err := target.WriteAt(part[done:done+n], at); err != nil {
				t.Fatal(err)
			}
			done += n
		}
		off = end
	}
	return content
}

func noise(r *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}
