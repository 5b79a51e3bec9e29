package vdi_test

import (
	"bytes"
	"fmt"
	"log"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/vdi"
)

// An image is read from anything that reads at offsets.
func Example() {
	content := image() // an *os.File does as well
	file := disk.NewFile(bytes.NewReader(content), int64(len(content)))

	i, err := vdi.Format.Open(file, disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	text := make([]byte, 5)
	if _, err := i.ReadAt(text, 64<<10); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %d bytes: %s\n", i.Info().Format, i.Size(), text)

	// Output:
	// vdi, 131072 bytes: Hello
}

// image returns an image of 128 KiB with a text in its middle.
func image() []byte {
	target := disktest.NewTarget(nil)
	w, err := vdi.Format.Create(target, 128<<10, disk.WriterOptions{Zeroed: true})
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
