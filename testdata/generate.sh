#!/bin/sh
# Makes disk.qcow2 and disk.sha256: a 16 MiB disk with an MBR, an ext4 file
# system with files in it (partition 1, at 1 MiB) and a data partition (2, at
# 13 MiB). The qcow2 file has compressed, standard, zero and unallocated
# clusters. Run by hand; needs mke2fs and qemu-img. The content is the same on
# every run of the same versions of the two.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$PATH:/usr/sbin:/sbin
cd "$work"

mkdir -p tree/etc tree/usr/share tree/var/log
cp "$here/../LICENSE" tree/usr/share/
echo "Hello from inside the image." >tree/hello.txt
echo "guest.example" >tree/etc/hostname
ln -s ../hello.txt tree/etc/motd
seq 1 20000 >tree/usr/share/numbers
i=0
while [ $i -lt 500 ]; do
	printf '%s' "$i" | sha256sum
	i=$((i + 1))
done >tree/var/log/hashes
truncate -s 3M tree/var/log/sparse
printf end >>tree/var/log/sparse
find tree -exec touch -h -d '2024-01-01 00:00:00 UTC' {} +

# Partition 1: 12 MiB of ext4.
E2FSPROGS_FAKE_TIME=1704067200 mke2fs -q -F -t ext4 -b 4096 -L instar-demo \
	-U 6f2c1f60-0d5c-4f0e-9d3f-5d1c5f5e0001 \
	-E hash_seed=6f2c1f60-0d5c-4f0e-9d3f-5d1c5f5e0002,root_owner=0:0,lazy_itable_init=0 \
	-d tree fs.raw 12M >/dev/null 2>&1
# Change times come from the files just made: set them as well.
export DEBUGFS_PAGER=cat
find tree -mindepth 1 -printf "/%P\n" | while read -r file; do
	for time in ctime ctime_extra atime atime_extra; do
		echo "set_inode_field $file $time $(case $time in *_extra) echo 0 ;; *) echo 20240101000000 ;; esac)"
	done
done >times
E2FSPROGS_FAKE_TIME=1704067200 debugfs -w -f times fs.raw >/dev/null 2>&1

# The MBR: entries at 446 (type 0x83, sectors 2048 to 26623) and at 462 (type
# 0xda, sectors 26624 to 32767); CHS fields are the "use LBA" mark.
truncate -s 16M disk.raw
{
	printf '\000\376\377\377\203\376\377\377\000\010\000\000\000\140\000\000'
	printf '\000\376\377\377\332\376\377\377\000\150\000\000\000\030\000\000'
} | dd of=disk.raw bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of=disk.raw bs=1 seek=510 conv=notrunc status=none
dd if=fs.raw of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none

qemu-img convert -c -f raw -O qcow2 -o cluster_size=16k disk.raw disk.qcow2
qemu-io -f qcow2 -c 'write -P 0x5a 13M 40k' -c 'write -P 0xa5 14000000 3000' \
	-c 'write -z 15M 64k' disk.qcow2 >/dev/null
qemu-img check -q disk.qcow2
qemu-img convert -O raw disk.qcow2 disk.raw

cp disk.qcow2 "$here/disk.qcow2"
{
	sha256sum disk.raw
	tail -c +1048577 disk.raw | head -c 12582912 | sha256sum | sed 's/-$/partition.raw/'
} >"$here/disk.sha256"
ls -l "$here/disk.qcow2"
cat "$here/disk.sha256"
