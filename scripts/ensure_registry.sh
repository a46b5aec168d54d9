#!/bin/sh
# See to a container registry for the local ModelArts: use docker-registry where it is installed,
# else fetch the distribution's package and unpack it below build/, else see that its image is there
# or can be pulled. Nothing is installed and no service is started, so root is not needed.
#
#   scripts/ensure_registry.sh [FOLDER]  prints the path of the program, or the name of the image;
#                                       exits 3 where none can be had; FOLDER: build/registry
#   REGISTRY_IMAGE=registry:3 scripts/ensure_registry.sh      that image, and no program
set -eu

folder=${1:-$(cd "$(dirname "$0")/.." && pwd)/build/registry}
program=$folder/usr/bin/docker-registry

say() { printf 'ensure_registry: %s\n' "$*" >&2; }

image=${REGISTRY_IMAGE:-registry:2}
use_image() {
  command -v docker >/dev/null 2>&1 || return 1
  docker image inspect "$image" >/dev/null 2>&1 || timeout 60 docker pull --quiet "$image" >/dev/null 2>&1 || return 1
  say "using the image $image"
  echo "$image"
}

give_up() {
  ! use_image || exit 0
  say "no registry: $1"
  say "install the program docker-registry (https://distribution.github.io/distribution/) and put it on the PATH, or pull $image."
  exit 3
}

[ -z "${REGISTRY_IMAGE:-}" ] || give_up "there is no image $image, and it cannot be pulled."
if command -v docker-registry; then
  say "using the installed docker-registry"
  exit 0
fi
if [ ! -x "$program" ]; then
  command -v apt-get >/dev/null 2>&1 || give_up "this is not Debian or Ubuntu, so it must be installed by hand."
  say "fetching the distribution's package docker-registry into build/registry"
  mkdir -p "$folder"
  cd "$folder"
  rm -f ./*.deb
  # _apt may not enter a folder of root's home; as the caller it can: apt-get(8), APT::Sandbox.
  apt-get download -qq -o APT::Sandbox::User=root docker-registry >apt.log 2>&1 ||
    { apt-get update -qq >>apt.log 2>&1 && apt-get download -qq -o APT::Sandbox::User=root docker-registry >>apt.log 2>&1; } ||
    give_up "apt-get could not download it; its output is in build/registry/apt.log."
  dpkg-deb -x ./*.deb "$folder" || give_up "its package could not be unpacked."
fi
"$program" --version >/dev/null 2>&1 || give_up "the fetched program does not run on this machine."
say "using the one fetched into build/registry"
echo "$program"
