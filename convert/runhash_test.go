package convert_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"

	"instar/convert"
	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
)

// TestRunHash: the hash is the same for the same content, whichever way it
// comes, and another for other content.
func TestRunHash(t *testing.T) {
	draw := func(t *rapid.T) []byte {
		var p []byte
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			n := 512 * rapid.IntRange(1, 4).Draw(t, "sectors")
			p = append(p, bytes.Repeat([]byte{byte(rapid.IntRange(0, 1).Draw(t, "byte"))}, n)...)
		}
		return p
	}
	sum := func(t *rapid.T, p []byte) string {
		h := convert.NewRunHash(sha256.New)
		h.Write(make([]byte, 1024))
		h.Write([]byte{511: 1})
		h.Reset()
		for len(p) > 0 {
			n := 512 * rapid.IntRange(1, len(p)/512).Draw(t, "part")
			if !bytes.Contains(p[:n], []byte{1}) && rapid.Bool().Draw(t, "as zeros") {
				h.WriteZeros(int64(n))
			} else {
				h.Write(p[:n])
			}
			p = p[n:]
		}
		if rapid.Bool().Draw(t, "sum twice") {
			h.Sum(nil)
		}
		return string(h.Sum(nil))
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t), draw(t)
		if rapid.Bool().Draw(t, "same") {
			b = a
		}
		if same := sum(t, a) == sum(t, b); same != bytes.Equal(a, b) {
			t.Errorf("of %v and %v it is the same: %v", a, b, same)
		}
	})
}

// TestRunHashCostsWhatIsStored: a petabyte of holes takes no time, in an output
// and read back, also in what is below.
func TestRunHashCostsWhatIsStored(t *testing.T) {
	const petabyte = 1 << 50
	stored := &fake{parts: []part{{disk.Encoded, 1 << 20, 1}, {disk.Unallocated, 1 << 20, 0}, {disk.Data, 4096, 2}}}
	source := concat(t, stored, convert.Empty(petabyte), stored)
	below := concat(t, convert.Empty(petabyte/2), &fake{parts: []part{{disk.Encoded, 5 << 20, 3}}}, convert.Empty(petabyte))
	for _, cluster := range []string{"64k", "2M"} {
		target, h := disktest.NewTarget(nil), convert.NewRunHash(sha256.New)
		x := convert.Execution{
			Source: convert.Overlay([]disk.Disk{source, below}, below), Overlay: true, Below: below, SkipZeros: true,
			Create: qcow2.Format.Create, Target: oneAtATime{target, make(chan struct{}, 1)}, Hash: h,
		}
		x.Options = disk.WriterOptions{Zeroed: true, Values: map[string]string{"backing_file": "below", "backing_fmt": "raw", "cluster_size": cluster}}
		if cluster == "64k" {
			size := int64(1 << 46) // whose L1 table is small
			x.OutputSize = &size
		}
		result, err := convert.Execute(context.Background(), x)
		if err != nil {
			t.Fatal(err)
		}
		p := target.Bytes()
		image, err := qcow2.Format.Open(disk.NewFile(bytes.NewReader(p), int64(len(p))), disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		back := convert.NewRunHash(sha256.New)
		if err := convert.Digest(context.Background(), disk.Chain(image, below), result.Size, back, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.Sum(nil), h.Sum(nil)) {
			t.Errorf("with clusters of %s it is not what is read back", cluster)
		}
	}
}

func concat(t *testing.T, disks ...disk.Disk) disk.Disk {
	t.Helper()
	d, err := convert.Concat(disks...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
