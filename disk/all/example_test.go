package all_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"

	"instar/disk"
	"instar/disk/all"
)

// An image is opened from anything that reads at offsets: its format is found
// out, and what it stores is listed without reading it.
func Example() {
	content := smallImage() // an *os.File does as well
	file := disk.NewFile(bytes.NewReader(content), int64(len(content)))

	format, err := all.Registry().Detect(file, "")
	if err != nil {
		log.Fatal(err)
	}
	image, err := format.Open(file, disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %d bytes\n", image.Info().Format, image.Size())

	for off := int64(0); off < image.Size(); {
		e, err := image.Extent(off, image.Size()-off)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%8d + %6d  %v\n", e.Start, e.Length, e.Kind)
		off = e.End()
	}

	text := make([]byte, 15)
	if _, err := image.ReadAt(text, 2<<16); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", text)

	// Output:
	// qcow2, 1048576 bytes
	//        0 + 131072  unallocated
	//   131072 +  65536  data
	//   196608 + 851968  unallocated
	// Hello from qcow
}

// smallImage returns a qcow2 image of 1 MiB with one cluster in it.
func smallImage() []byte {
	const cluster = 64 << 10
	image := make([]byte, 5*cluster)
	be := binary.BigEndian
	copy(image, "QFI\xfb\x00\x00\x00\x03")
	be.PutUint32(image[20:], 16)        // cluster bits
	be.PutUint64(image[24:], 1<<20)     // virtual size
	be.PutUint32(image[36:], 1)         // L1 entries
	be.PutUint64(image[40:], 2*cluster) // L1 table
	be.PutUint64(image[48:], 1*cluster) // reference count table
	be.PutUint32(image[56:], 1)         // its clusters
	be.PutUint32(image[96:], 4)         // reference count order
	be.PutUint32(image[100:], 104)      // header length
	be.PutUint64(image[2*cluster:], 3*cluster)
	be.PutUint64(image[3*cluster+2*8:], 4*cluster) // L2 entry of the third cluster
	copy(image[4*cluster:], "Hello from qcow2")
	return image
}
