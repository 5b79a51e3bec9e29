package qcow2_test

import (
	"bytes"
	"fmt"
	"log"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/qcow2"
	"instar/disk/raw"
)

// An image is read from anything that reads at offsets. What it stands on is
// named, and opened by whoever may decide that.
func Example() {
	content := overlay() // an *os.File does as well
	file := disk.NewFile(bytes.NewReader(content), int64(len(content)))

	i, err := qcow2.Format.Open(file, disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	below := i.Info().Backing()
	fmt.Printf("%s, %d bytes, on %s (%s)\n", i.Info().Format, i.Size(), below.Name(), below.Format)

	base := []byte("Hi...")
	lower, err := raw.Format.Open(disk.NewFile(bytes.NewReader(base), int64(len(base))), disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	both := disk.Chain(i, lower)
	text := make([]byte, 5)
	for _, off := range []int64{0, 64 << 10} {
		if _, err := both.ReadAt(text, off); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", text)
	}

	// Output:
	// qcow2, 131072 bytes, on base.raw (raw)
	// Hi...
	// Hello
}

// overlay returns an image of 128 KiB on a backing file, with a text in its
// second cluster.
func overlay() []byte {
	target := disktest.NewTarget(nil)
	w, err := qcow2.Format.Create(target, 128<<10, disk.WriterOptions{
		Values: map[string]string{"backing_file": "base.raw", "backing_fmt": "raw"}, Zeroed: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	text := append([]byte("Hello"), make([]byte, w.Unit()-5)...)
	at, _, err := w.Place(64<<10, w.Unit())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := target.WriteAt(text, at); err != nil {
		log.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		log.Fatal(err)
	}
	return target.Bytes()
}
