#!/bin/sh
# See to podman for the test that runs exported Kubernetes objects: use the installed one, else, as
# root on Debian, install the distribution's, with what it needs to run pods.
#
#   scripts/ensure_podman.sh          exits 3 where none can be had
set -eu

say() { printf 'ensure_podman: %s\n' "$*" >&2; }

has_all() {
  for program in podman runc catatonit; do
    command -v "$program" >/dev/null 2>&1 || return 1
  done
  [ -x /usr/lib/podman/netavark ] || [ -x /usr/libexec/podman/netavark ]
}

give_up() {
  say "no podman: $1"
  say "install podman, runc, catatonit, netavark and aardvark-dns."
  exit 3
}

has_all && exit 0
command -v apt-get >/dev/null 2>&1 || give_up "this is not Debian, so it must be installed by hand."
[ "$(id -u)" = 0 ] || give_up "only root can install it here."
say "installing the distribution's podman"
install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
    podman runc catatonit netavark aardvark-dns >&2
}
install || { apt-get update -qq >&2 && install; } || give_up "apt-get could not install it."
has_all || give_up "it is installed, and not whole."
