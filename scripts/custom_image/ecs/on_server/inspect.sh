#!/bin/sh
# What this server is and has, one "name=value" a line. What cannot be told is empty.
#   inspect.sh          for the doctor: all of it; changes nothing
#   inspect.sh STORE    for a build: only what it needs, and the disk of the store, which is made
store=${1:-}
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
lacking=
for program in flock sha256sum setsid timeout tar truncate; do
  command -v "$program" >/dev/null 2>&1 || lacking="$lacking $program"
done
echo "lacking=${lacking# }"

echo "client=$(docker version --format '{{.Client.Version}}' 2>/dev/null | head -n 1)"
said=$(docker info --format '{{.ServerVersion}}|{{.Driver}}|{{.DockerRootDir}}' 2>/dev/null)
case $said in '' | '|'*)
  # Asked once more, because this one says in plain words why there is no answer.
  said=
  printf 'refusal=%s\n' "$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null | tail -n 1)"
  ;;
esac
echo "answer=$said"
endpoint=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null)
echo "socket=${DOCKER_HOST:-$endpoint}"
# Of the engine's disk; of the one that it would have where it does not say.
images=$(printf '%s' "$said" | cut -s -d '|' -f 3)
[ -n "$images" ] || images=/var/lib/docker
disk=$images
while [ ! -e "$disk" ]; do disk=$(dirname "$disk"); done
free_bytes() { df -P -B 1 "$1" | awk 'NR == 2 { print $4 }'; }
echo "images=$images"
echo "free_bytes=$(free_bytes "$disk")"

if [ -n "$store" ]; then
  mkdir -p "$store" || exit 1
  echo "architecture=$(docker version --format '{{.Server.Arch}}' 2>/dev/null)"
  # A client of 23 and newer needs the plugin; older ones carry BuildKit themselves.
  echo "buildx=$(docker buildx version 2>/dev/null | head -n 1)"
  echo "store_free=$(free_bytes "$store")"
  echo "same_disk=$([ "$(stat -c %d "$store")" = "$(stat -c %d "$disk")" ] && echo yes)"
  exit 0
fi

# shellcheck source=/dev/null
echo "system=$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")"
echo "machine=$(uname -m)"
echo "cores=$(nproc 2>/dev/null)"
echo "memory_kb=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
echo "user=$(id -un)"
echo "root=$([ "$(id -u)" = 0 ] && echo yes)"
echo "sudo=$(sudo -n true 2>/dev/null && echo yes)"
echo "installed=$(dockerd --version 2>/dev/null | sed 's/^[^0-9]*\([0-9.]*\).*/\1/')"
echo "free_inodes=$(df -P -i "$disk" | awk 'NR == 2 && $2 > 0 { print $4 }')"
# Whole disks that hold nothing: no partition, no file system, no mount.
echo "unused=$(lsblk -d -n -b -o NAME,SIZE,TYPE 2>/dev/null | while read -r name size type; do
  [ "$type" = disk ] && [ "$size" -gt 10000000000 ] || continue
  lines=$(lsblk -n -o FSTYPE,MOUNTPOINT,PTTYPE "/dev/$name" | tr -d ' \n')
  [ -n "$lines" ] || [ "$(lsblk -n "/dev/$name" | wc -l)" != 1 ] || printf '/dev/%s ' "$name"
done)"
echo "time_service=$(cat /proc/[0-9]*/comm 2>/dev/null | grep -x -m 1 -e chronyd -e systemd-timesyn -e ntpd)"
