package differential

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"instar/internal/testutil"
)

// Of an image with some 300 internal snapshots all are listed, and each can be
// converted: by its name, by its ID, and by both said to be that.
func TestManySnapshots(t *testing.T) {
	t.Parallel()
	const count = 300
	folder := t.TempDir()
	m := maker{t: t, dir: folder}
	m.create("many.qcow2", "1M", "-o", "cluster_size=4k")
	for n := 1; n <= count; n++ {
		switch n {
		case 1, 2, 100, 250, count:
			m.io("many.qcow2", fmt.Sprintf("write -P %d %dk 6k", n%251+1, n*3))
		}
		name := fmt.Sprintf("name %d", n)
		switch n {
		case 7:
			name = "250" // an ID counts more than a name
		case 8:
			name = "a,b=c"
		}
		testutil.Run(t, "qemu-img", "snapshot", "-c", name, m.path("many.qcow2"))
	}
	m.io("many.qcow2", "write -P 0xee 0 1M")
	w := newTwo(t, func(to string) { testutil.Run(t, "cp", "-p", filepath.Join(folder, "many.qcow2"), to) })
	w.compare(t, "info", "many.qcow2")
	w.compare(t, "info", "--output=json", "many.qcow2")
	for _, key := range []string{
		"1", "2", "100", "250", "300", "name 1", "name 99", "name 100", "name 300",
		"snapshot.id=2", "snapshot.id=300", "snapshot.name=name 250", "snapshot.name=250", "snapshot.id=7,snapshot.name=250",
		"snapshot.name=name 2,snapshot.id=2", "snapshot.name=a,,b=c", "a,b=c",
		"301", "name", "", "snapshot.id=301", "snapshot.id=7,snapshot.name=name 7", "snapshot.name=7", "snapshot.id=name 1",
	} {
		for _, format := range []string{"raw", "qcow2"} {
			if format == "raw" || len(key) < 4 {
				w.compare(t, "convert", "-l", key, "-O", format, "many.qcow2", "out")
			}
		}
	}
	w = w.behind("jail")
	w.compare(t, "convert", "-l", "name 100", "many.qcow2", "out")
	w.compare(t, "convert", "-l", strings.Repeat("x", 300), "many.qcow2", "out")
}
