package qed

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"instar/disk"
	"instar/disk/disktest"
	"instar/internal/testutil"
)

// convert has qemu-img make an image of content.
func convert(t testing.TB, content []byte, args ...string) []byte {
	t.Helper()
	qemuImg := testutil.QemuImg(t)
	dir := t.TempDir()
	plain, image := filepath.Join(dir, "plain"), filepath.Join(dir, "image")
	if err := os.WriteFile(plain, content, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"convert", "-f", "raw", "-O", formatName}, args...)
	testutil.Run(t, qemuImg, append(args, plain, image)...)
	p, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestQEMU(t *testing.T) {
	content := make([]byte, 1<<20+5*512)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	clear(content[300<<10 : 700<<10])
	for name, args := range map[string][]string{
		"default": nil,
		"small":   {"-o", "cluster_size=4k,table_size=2"},
		"dense":   {"-S", "0", "-o", "cluster_size=128k"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disktest.Run(t, disktest.Config{Format: Format, Image: convert(t, content, args...), Want: content})
		})
	}
}

// small is an image of six clusters of 4 KiB, tables of two: the third is stored,
// the fourth zero. patch may change the header.
func small(patch func(h *header)) []byte {
	h := header{clusterSize: 4096, tableSize: 2, headerSize: 1, l1: 4096, size: 6 * 4096}
	if patch != nil {
		patch(&h)
	}
	p := make([]byte, 6*4096)
	copy(p, h.encode())
	copy(p[headerSize:], "below.img")
	le := binary.LittleEndian
	le.PutUint64(p[4096:], 3*4096)
	le.PutUint64(p[3*4096+2*8:], 5*4096)
	le.PutUint64(p[3*4096+3*8:], zeroCluster)
	copy(p[5*4096:], bytes.Repeat([]byte{7}, 4096))
	return p
}

func TestClusters(t *testing.T) {
	want := make([]byte, 6*4096)
	copy(want[2*4096:], bytes.Repeat([]byte{7}, 4096))
	disktest.Run(t, disktest.Config{Format: Format, Image: small(nil), Want: want})
	i, err := Format.Open(disktest.File(small(nil)), disk.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for cluster, want := range []disk.Kind{disk.Unallocated, disk.Unallocated, disk.Data, disk.Zero, disk.Unallocated} {
		if e, err := i.Extent(int64(cluster)<<12, 4096); err != nil || e.Kind != want {
			t.Errorf("cluster %d: %+v, %v", cluster, e, err)
		}
	}
}

func TestBackingFile(t *testing.T) {
	for _, tc := range []struct {
		features uint64
		format   string
	}{
		{featureBacking, ""},
		{featureBacking | featureRaw | featureNeedCheck, "raw"},
	} {
		p := small(func(h *header) { h.features, h.nameOffset, h.nameLength = tc.features, headerSize, 9 })
		i, err := Format.Open(disktest.File(p), disk.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []disk.Reference{{Kind: disk.BackingFile, Names: []string{"below.img"}, Format: tc.format}}
		if diff := cmp.Diff(want, i.Info().References); diff != "" {
			t.Error(diff)
		}
		if i.Info().Dirty != (tc.features&featureNeedCheck != 0) {
			t.Errorf("features %#x: dirty %v", tc.features, i.Info().Dirty)
		}
	}
}

func TestHeader(t *testing.T) {
	for want, patch := range map[string]func(h *header){
		"Unsupported QED features: 18":     func(h *header) { h.features = 0x1b &^ 3 },
		"QED cluster size is invalid":      func(h *header) { h.clusterSize = 2048 },
		"QED table size is invalid":        func(h *header) { h.tableSize = 3 },
		"QED image size is invalid":        func(h *header) { h.size = 1<<33 + 512 },
		"QED header size is invalid":       func(h *header) { h.headerSize = 0 },
		"QED table offset is invalid":      func(h *header) { h.l1 = 4097 },
		"QED backing file name is invalid": func(h *header) { h.features, h.nameOffset, h.nameLength = 1, 4000, 97 },
		"Failed to load snapshot: Block format 'qed' used by device '' does not support temporarily loading internal snapshots": nil,
		"Image not in QED format":                   nil,
		"L2 table offset 0x7000 is invalid":         nil,
		"cluster offset 0x5001 is invalid":          nil,
		"cluster offset 0x1000000000000 is invalid": nil,
	} {
		p, o := small(patch), disk.OpenOptions{}
		le := binary.LittleEndian
		switch want {
		case "Failed to load snapshot: Block format 'qed' used by device '' does not support temporarily loading internal snapshots":
			o.Snapshot = "1"
		case "Image not in QED format":
			p[0] = 'R'
		case "L2 table offset 0x7000 is invalid":
			le.PutUint64(p[4096:], 7*4096)
		case "cluster offset 0x5001 is invalid":
			le.PutUint64(p[3*4096+2*8:], 5*4096+1)
		case "cluster offset 0x1000000000000 is invalid":
			le.PutUint64(p[3*4096+2*8:], 1<<48)
		}
		i, err := Format.Open(disktest.File(p), o)
		if err == nil {
			_, err = i.ReadAt(make([]byte, 512), 2*4096)
		}
		if err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// The greatest tables are no more than a hole in the file, and cost nothing.
func TestLargeImage(t *testing.T) {
	p := small(func(h *header) { h.clusterSize, h.tableSize, h.l1, h.size = 1<<20, 16, 1<<20, 1<<60 })
	disktest.Survive(t, Format, p, disk.OpenOptions{})
}

func FuzzOpen(f *testing.F) {
	f.Add(small(nil))
	f.Add(small(func(h *header) { h.features, h.nameOffset, h.nameLength = featureBacking, headerSize, 9 }))
	f.Fuzz(func(t *testing.T, image []byte) { disktest.Survive(t, Format, image, disk.OpenOptions{}) })
}
