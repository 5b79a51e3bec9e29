// Package vpc reads Microsoft's virtual hard disks (VHD), which QEMU calls vpc
// after Virtual PC: fixed, dynamic and differencing; and writes the first two.
//
// The layout is that of Microsoft's "Virtual Hard Disk Image Format
// Specification" 1.0 (2006). All numbers are big-endian. A fixed disk is its
// content and, in the last 512 bytes of the file, a footer. The others begin
// with a copy of the footer and a dynamic disk header, which says where the
// block allocation table (BAT) is; a block is a sector bitmap and its content.
//
// What QEMU leaves open, or does otherwise than the specification, is done as
// QEMU does it: which of the two sizes of the footer counts, that the sector
// bitmaps of a dynamic disk are not looked at, and that neither the checksum of
// the dynamic disk header nor the footer at the end of a dynamic disk matters.
// Differencing disks, which QEMU takes for dynamic ones, are read by the
// specification.
//
// A disk may have 2040 GiB and a BAT of 536870911 entries, which are QEMU's limits,
// and a parent locator 65534 bytes. Tables are read through a cache of 8 MiB.
package vpc
