package dmg_test

import (
	"fmt"
	"log"
	"os"

	"instar/disk"
	"instar/disk/dmg"
)

// An image is read from anything that reads at offsets, as a file does.
func Example() {
	file, err := os.Open("testdata/mixed.dmg")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		log.Fatal(err)
	}
	image, err := dmg.Format.Open(disk.NewFile(file, info.Size()), disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	line := make([]byte, 19)
	if _, err := image.ReadAt(line, 8192); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes; at 8192: %s…\n", image.Size(), line)
	// Output:
	// 76800 bytes; at 8192: zlib 1, line 0 of i…
}
