// Package all has the registry of every image format of the program.
package all

import (
	"instar/disk"
	"instar/disk/qcow2"
	"instar/disk/raw"
)

// Registry returns a registry of every format. raw comes last: every file is a
// raw image when no other format claims it.
func Registry() *disk.Registry {
	return disk.NewRegistry(
		qcow2.Format,
		raw.Format,
	)
}
