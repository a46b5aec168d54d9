#!/bin/sh
# The first process of the stand-in server: sets up its file system, says "ready", and lives until
# its standard input ends. All of the server ends with it, because it is process 1 of a namespace;
# so a test run that is killed leaves neither a process nor a mount nor a network interface behind.
#
#   sh ecs_host.sh FOLDER SHARE LOWER SSHD DISK_BYTES HIDDEN...
#     FOLDER       for mount points; nothing stays in it but the image of the disk, unlinked
#     SHARE        shared with the author's machine: sockets and logs
#     LOWER        the root file system that the server starts from; changes go to its disk
#     SSHD         a folder whose usr/ is laid over it, or empty
#     DISK_BYTES   size of the disk, which holds changes and /var/lib/docker
#     HIDDEN       folders of the author's machine that the server must not see
set -eu
folder=$1 share=$2 lower=$3 sshd=$4 disk_bytes=$5
shift 5

mount --make-rprivate /
mkdir -p "$folder/disk" "$folder/root"
truncate -s "$disk_bytes" "$folder/disk.img"
mkfs.ext4 -q -F -m 0 -E nodiscard "$folder/disk.img"
mount -o loop,discard,noinit_itable "$folder/disk.img" "$folder/disk"
rm "$folder/disk.img" # the file goes when the loop device does, however this ends
cd "$folder/disk"
mkdir -p changes work docker empty root home tmp
chmod 700 root
chmod 1777 tmp
mount -t overlay overlay -o "lowerdir=$lower,upperdir=changes,workdir=work" "$folder/root"

cd "$folder/root"
[ -z "$sshd" ] || cp -a "$sshd/usr/." usr/
mkdir -p proc sys dev run tmp root home var/lib/docker
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
mount --bind "$folder/disk/root" root
mount --bind "$folder/disk/home" home
mount --bind "$folder/disk/tmp" tmp
mount --bind "$folder/disk/docker" var/lib/docker
for hidden in "$@"; do
  [ ! -d ".$hidden" ] || mount --bind "$folder/disk/empty" ".$hidden"
done
mkdir -p run/share run/author run/sshd
mount --bind "$share" run/share
rm -rf etc/docker etc/nologin
pivot_root . run/author
umount -l /run/author
rmdir /run/author

hostname ecs-server
echo "127.0.0.1 localhost ecs-server" >etc/hosts
echo ready
# `wait` also buries the orphans of the server, as process 1 has to.
exec 3<&0
cat <&3 >/dev/null &
wait $!
