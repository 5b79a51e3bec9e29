package raw_test

import (
	"bytes"
	"testing"

	"instar/disk"
	"instar/disk/disktest"
	"instar/disk/raw"
)

func TestConformance(t *testing.T) {
	content := make([]byte, 300<<10)
	for i := range content {
		content[i] = byte(i>>8) ^ byte(i)
	}
	for _, tc := range []struct {
		name  string
		image []byte
	}{
		{"empty", nil},
		{"whole sectors", content},
		{"partial sector", content[:99999]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			padded := bytes.Clone(tc.image)
			for len(padded)%disk.SectorSize != 0 {
				padded = append(padded, 0)
			}
			disktest.Run(t, disktest.Config{Format: raw.Format, Image: tc.image, Want: padded, Headless: true})
		})
	}
}
