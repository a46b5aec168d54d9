#!/bin/sh
# What this server is, one "name=value" a line. Missing programs leave the value empty.
#   probe.sh STORE
store=$1
export LC_ALL=C
mkdir -p "$store" || exit 1
missing=
for program in docker flock sha256sum setsid timeout tar truncate; do
  command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
echo "missing=${missing# }"
version=$(docker version --format '{{.Server.Version}} {{.Server.Arch}} {{.Client.Version}}' 2>"$store/.error")
error=$(cat "$store/.error")
rm -f "$store/.error"
# shellcheck disable=SC2086 # three words
set -- $version
echo "engine=${1:-}"
echo "architecture=${2:-}"
echo "client=${3:-}"
printf 'error=%s\n' "$(printf '%s' "$error" | tail -n 1)"
# A client of 23 and newer needs the plugin; older ones carry BuildKit themselves.
echo "buildx=$(docker buildx version 2>/dev/null | head -n 1)"
echo "socket=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null)}"
root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)
echo "docker_root=$root"
echo "docker_free=$(df -B1 --output=avail "${root:-/}" 2>/dev/null | tail -n 1)"
echo "store_free=$(df -B1 --output=avail "$store" | tail -n 1)"
echo "same_disk=$([ "$(stat -c %d "$store")" = "$(stat -c %d "${root:-/}" 2>/dev/null)" ] && echo yes)"
