#!/bin/sh
# Remove from a new root file system ($1) what a service never reads, and every trace of the
# machine that made it.
set -eu
root=$1

# Written by mmdebstrap from this machine: its mirrors, proxies, name and resolver. Whoever installs
# Debian packages on top says where from; it may be this machine's private mirror no longer.
rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap \
  "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"

# Caches, logs and backups of the installation itself.
find "$root/var/log" "$root/var/cache/debconf" "$root/var/cache/ldconfig" -type f -delete
rm -f "$root"/var/lib/dpkg/*-old "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow-

# Parts of Python that only people at a terminal use, or that install packages: pip comes with the
# wheelhouse of a build and stays there.
rm -rf "$root"/usr/lib/python3*/pydoc_data "$root"/usr/lib/python3*/ensurepip \
  "$root"/usr/lib/python3*/lib2to3/tests "$root"/usr/share/lintian "$root"/usr/share/man
