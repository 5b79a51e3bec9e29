#!/bin/sh
# make demo: copies the disk in this folder with ./instar and checks every byte.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
instar=$top/instar
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$top/testdata/disk.qcow2" "$top/testdata/disk.sha256" "$work"
cd "$work"
PATH=$PATH:/usr/sbin:/sbin

say() { printf '\n# %s\n' "$*"; }
run() { printf '$ instar %s\n' "$*"; "$instar" "$@"; }

say "A disk with a partition table, a file system and files in it, as qcow2:"
run info disk.qcow2

say "The whole disk, as raw; then partition 1 alone, by its sectors in the table:"
run dd if=disk.qcow2 of=disk.raw
run dd if=disk.qcow2 of=partition.raw skip=2048 count=26624

say "Every byte is checked against the checksums in testdata/disk.sha256:"
sha256sum -c disk.sha256

if command -v e2fsck >/dev/null; then
	say "The file system in partition.raw, according to e2fsck:"
	e2fsck -fn partition.raw >fsck 2>&1 || { cat fsck; exit 1; }
	tail -n 1 fsck
fi
if command -v debugfs >/dev/null; then
	say "A file in it, /hello.txt, according to debugfs:"
	debugfs -R 'cat /hello.txt' partition.raw 2>/dev/null
fi
if command -v qemu-img >/dev/null; then
	say "The raw copy against its source, according to qemu-img compare:"
	qemu-img compare -f raw -F qcow2 disk.raw disk.qcow2
else
	say "qemu-img is not installed: the checksums above are the check."
fi

say "Done: what came out is a sound copy of the disk, and instar itself parsed none of it (see instar doctor)."
