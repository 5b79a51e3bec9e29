// Package all has the registry of every image format of the program.
package all

import (
	"instar/disk"
	"instar/disk/dmg"
	"instar/disk/luks"
	"instar/disk/parallels"
	"instar/disk/qcow"
	"instar/disk/qcow2"
	"instar/disk/qed"
	"instar/disk/raw"
	"instar/disk/vdi"
	"instar/disk/vhdx"
	"instar/disk/vmdk"
	"instar/disk/vpc"
)

// Registry returns a registry of every format. raw comes last: every file is a
// raw image when no other format claims it.
func Registry() *disk.Registry {
	return disk.NewRegistry(
		qcow2.Format,
		qcow.Format,
		qed.Format,
		vmdk.Format,
		vpc.Format,
		vhdx.Format,
		vdi.Format,
		parallels.Format,
		dmg.Format,
		luks.Format,
		raw.Format,
	)
}
