#!/bin/sh
# Starts a boot file where /home/mind is as in an image made here: a link to what the runtime makes.
# Run it in a mount namespace of its own: unshare --mount sh platform_home.sh FOLDER BOOT_FILE
# FOLDER takes what lies in /home now, and becomes the target of the link.
set -e
mkdir -p "$1/home"
mount --rbind /home "$1/home"
mount -t tmpfs none /home
for there in "$1"/home/*; do
  if [ -d "$there" ]; then
    mkdir "/home/${there##*/}"
    mount --rbind "$there" "/home/${there##*/}"
  fi
done
mkdir /home/mind
ln -s "$1/mind/model" /home/mind/model
exec sh "$2"
