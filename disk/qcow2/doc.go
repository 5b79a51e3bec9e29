// Package qcow2 reads QEMU's copy-on-write format, versions 2 and 3.
//
// The specification is docs/interop/qcow2.txt of QEMU; names here are its
// names. Cluster sizes from 512 bytes to 2 MiB are read, with standard, zero,
// unallocated and compressed clusters (zlib and zstd), and with extended L2
// entries (subclusters). An image marked dirty is read; one marked corrupt is
// described, and its content refused; so is an encrypted one (LUKS, AES) without
// its passphrase.
//
// Limits, which are QEMU's: an L1 table of at most 32 MiB, a refcount table of
// at most 8 MiB, 65536 snapshots in at most 64 MiB. Tables are read through a
// cache of 8 MiB, so memory depends neither on the virtual size nor on the
// cluster size.
package qcow2
