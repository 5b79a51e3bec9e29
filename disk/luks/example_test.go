package luks_test

import (
	"bytes"
	"fmt"
	"log"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/luks"
)

// A container is read from anything that reads at offsets, by its passphrase.
func Example() {
	content := container() // an *os.File does as well
	file := disk.NewFile(bytes.NewReader(content), int64(len(content)))

	i, err := luks.Format.Open(file, disk.OpenOptions{Passphrase: []byte("open sesame")})
	if err != nil {
		log.Fatal(err)
	}
	text := make([]byte, 5)
	if _, err := i.ReadAt(text, 64<<10); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %d bytes: %s\n", i.Info().Format, i.Size(), text)

	locked, err := luks.Format.Open(file, disk.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(locked.Info().Refused)

	// Output:
	// luks, 131072 bytes: Hello
	// Parameter 'key-secret' is required for cipher
}

// container returns a container of 128 KiB with a text in its middle.
func container() []byte {
	target := disktest.NewTarget(nil)
	w, err := luks.Format.Create(target, 128<<10, disk.WriterOptions{
		Secret: []byte("open sesame"), Values: map[string]string{"iter-time": "1"}, Zeroed: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	text := append([]byte("Hello"), make([]byte, w.Unit()-5)...)
	at, _, err := w.Place(64<<10, w.Unit())
	if err != nil {
		log.Fatal(err)
	}
	w.(disk.Encrypter).Encrypt(text, 64<<10, at)
	if _, err := target.WriteAt(text, at); err != nil {
		log.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		log.Fatal(err)
	}
	return target.Bytes()
}
