// Package vmdk reads and writes VMware's virtual disks.
//
// A disk is described by a text, the descriptor, and stored in extents. Either
// the descriptor is a file of its own and names files for the extents (flat,
// split, vmfs, vmfsSparse and seSparse disks), or it is embedded in the one
// extent (monolithicSparse, streamOptimized). An extent is flat, or sparse: a
// grain directory of grain tables of grains, in one of three layouts. The
// hosted layout (KDMV) is that of VMware's "Virtual Disk Format 5.0"; the older
// one of ESX (COWD) is in the open vmdk descriptions of libvmdk; the newer one
// of ESX (seSparse) is only documented by the readers that there are, of which
// QEMU's was followed.
//
// The files of extents are never opened here. They are references, and a disk
// opened without them can be described, but not read. A sparse extent must then
// be as long as the descriptor says: QEMU believes the extent instead.
//
// A descriptor may have 1 MiB, or 10 KiB where it is embedded, and 2048 extents; a
// grain 1 GiB, or 4 MiB where it is compressed; a grain directory 33554432 entries.
// Tables are read through four caches of 8 MiB.
package vmdk
