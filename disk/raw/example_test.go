package raw_test

import (
	"bytes"
	"fmt"
	"log"

	"instar/disk"
	"instar/disk/raw"
)

// An image is read from anything that reads at offsets.
func Example() {
	content := []byte("Hello") // an *os.File does as well
	file := disk.NewFile(bytes.NewReader(content), int64(len(content)))

	i, err := raw.Format.Open(file, disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	text := make([]byte, 5)
	if _, err := i.ReadAt(text, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %d bytes: %s\n", i.Info().Format, i.Size(), text)

	// Output:
	// raw, 512 bytes: Hello
}
