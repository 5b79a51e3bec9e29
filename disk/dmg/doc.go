// Package dmg reads Apple's disk images in the Universal Disk Image Format
// (UDIF), as macOS makes them: read-only ones, compressed or not.
//
// Apple has not published the format. What is read is what QEMU's block/dmg.c
// reads, and what the community's description of it says ("Demystifying the DMG
// File Format", J. Levin, 2013). All numbers are big-endian. The last 512 bytes
// of the file are a trailer ("koly"); it says where the tables are: in a
// property list in XML, or, in older images, in a resource fork. Each table
// ("mish", one for each partition) lists chunks: runs of sectors that are zeros,
// stored as they are, or compressed by themselves.
//
// Chunks are compressed by zlib, bzip2, ADC or LZFSE; those of other kinds, of
// which LZMA is the one in use, are refused when they are read. What no chunk
// says anything about is an error, too, as in QEMU.
//
// # Limits
//
// A property list may have 16 MiB and a resource fork as much; a chunk that is
// compressed may have 64 MiB, before and after. These are QEMU's. Up to 32 MiB
// of chunks are kept once they are decompressed, or one that is greater.
package dmg
