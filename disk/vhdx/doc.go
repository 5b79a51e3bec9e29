// Package vhdx reads Hyper-V's virtual hard disks: fixed, dynamic and
// differencing; and writes the first two.
//
// The layout is that of Microsoft's [MS-VHDX], "Virtual Hard Disk v2 (VHDX)
// File Format"; sections are named after it. All numbers are little-endian. The
// first MiB holds an identifier, two headers of which the newer one counts, and
// two copies of the region table, which leads to the block allocation table
// (BAT) and to the metadata. The log holds updates of these that may not have
// reached their place: they are replayed in memory, and the file is never
// written to.
//
// Stricter than the specification, QEMU checks when an image is opened that no
// block lies behind the end of the file or in a region: so does this package.
//
// A disk may have 64 TiB in blocks of 1 to 256 MiB, and its tables 2047 entries: the
// limits of the specification. A metadata item may have 1 MiB, and a log that is to
// be replayed 64 MiB with 1024 runs of zeros; what it holds is kept in memory. The
// BAT and bitmaps are read through a cache of 8 MiB.
package vhdx
