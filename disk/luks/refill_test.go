package luks_test

import (
	"bytes"
	"errors"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	inner "instar/disk/internal/luks"
	"instar/disk/luks"
)

// TestRefill writes into a container that is there: what is not written to
// stays, and so do its keys.
func TestRefill(t *testing.T) {
	const size = 64 << 10
	target := disktest.NewTarget(nil)
	w, err := luks.Format.Create(target, size, disk.WriterOptions{
		Values: map[string]string{"iter-time": "1"}, Secret: []byte(passphrase), Zeroed: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{7}, size)
	put(t, w, target, want)
	open := func(pass []byte) disk.Image {
		t.Helper()
		i, err := luks.Format.Open(disktest.File(bytes.Clone(target.Bytes())), disk.OpenOptions{Passphrase: pass})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	head := len(target.Bytes()) - size
	before := bytes.Clone(target.Bytes())
	part := bytes.Repeat([]byte{9}, 8<<10)
	w, err = luks.Format.Create(target, int64(len(part)), disk.WriterOptions{Old: open([]byte(passphrase)), Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, target, part)
	copy(want, part)
	if !bytes.Equal(before[:head], target.Bytes()[:head]) {
		t.Error("the header is another")
	}
	got := make([]byte, size)
	if err := disk.ReadStored(open([]byte(passphrase)), got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the content is another (%v)", err)
	}

	for _, tc := range []struct {
		size int64
		o    disk.WriterOptions
		want error // nil is any
	}{
		{size + 512, disk.WriterOptions{Old: open([]byte(passphrase)), Existing: true}, nil},
		{512, disk.WriterOptions{Old: open([]byte(passphrase))}, nil},
		{512, disk.WriterOptions{Old: open(nil), Existing: true}, inner.ErrNoPassphrase},
	} {
		if _, err := luks.Format.Create(target, tc.size, tc.o); err == nil || (tc.want != nil && !errors.Is(err, tc.want)) {
			t.Errorf("%d bytes: %v, want %v", tc.size, err, tc.want)
		}
	}
}

// put has a writer store all of a disk.
func put(t *testing.T, w disk.Writer, target disk.Target, content []byte) {
	t.Helper()
	at, n, err := w.Place(0, int64(len(content)))
	if err != nil || n != int64(len(content)) {
		t.Fatalf("%d bytes are placed: %v", n, err)
	}
	p := bytes.Clone(content)
	w.(disk.Encrypter).Encrypt(p, 0, at)
	if _, err := target.WriteAt(p, at); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
}
