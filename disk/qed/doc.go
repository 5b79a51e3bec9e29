// Package qed reads and writes QED, QEMU's enhanced disk format: a header, two
// levels of tables, and clusters, which are stored, absent (what lies below shows
// through) or zero.
//
// The layout is that of QEMU's docs/interop/qed_spec.rst. An image that is marked
// as needing a check is read as it is. Encryption, compression and snapshots are
// not in the format.
//
// Clusters have 4 KiB to 64 MiB and tables 1 to 16 of them, which are the limits
// of the specification, and the name of a backing file has 1023 bytes at most.
package qed
