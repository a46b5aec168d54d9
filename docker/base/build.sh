#!/bin/sh
# Make the root file system of the base image from Debian packages, without any registry.
#
#   docker/base/build.sh base.tar                    for real-time services: Python
#   docker/base/build.sh base.tar bookworm batch     for batch services: also a headless JRE and zip
#   docker/base/build.sh base.tar trixie             Debian 13, which has Python 3.13
#   docker/base/build.sh base.tar bookworm real-time libgl1    and whatever Python packages need
#   docker import base.tar my-base:latest
#
# As root on Debian or Ubuntu; mmdebstrap is installed where it is missing. Debian 12 whatever the
# host is, unless told otherwise, for its Python 3.11. Packages come from where this machine's apt
# gets Debian from, proxies and certificates included, else from where mmdebstrap looks by itself;
# DEBIAN_MIRROR names another place. None of that stays in the image (trim.sh).
set -eu

here=$(dirname "$0")
output=$1
suite=${2:-bookworm}
variant=${3:-}
shift $(($# < 3 ? $# : 3))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'base: %s\n' "$*" >&2; }
packages() { sed 's/#.*//' "$@" | tr -s ' \n' ',' | sed 's/^,//; s/,$//'; }

[ "$(id -u)" = 0 ] || { say "only root can unpack packages; run this with sudo"; exit 3; }
if ! command -v mmdebstrap >/dev/null; then
  command -v apt-get >/dev/null || { say "needs mmdebstrap, which Debian and Ubuntu have"; exit 3; }
  say "installing mmdebstrap with apt-get"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists at hand"
  apt-get install -y -qq --no-install-recommends mmdebstrap debian-archive-keyring >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; say "apt-get could not install mmdebstrap"; exit 3; }
fi

# The sources of this machine's apt that hold this suite, in the one-line form; else the mirror that
# has this machine's own. Debian's own alone:
# others name their suites alike, but sign with keys that are not known here. The origin is unknown,
# and stays as it is written, until `apt-get update` has run.
if [ -n "${DEBIAN_MIRROR:-}" ]; then
  printf 'deb %s %s main\n' "$DEBIAN_MIRROR" "$suite" >"$work/sources.list"
else
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' \
    'Created-By: Packages' | awk '$3 == "main" && $4 ~ /^(Debian$|\$\()/' >"$work/targets"
  awk -v suite="$suite" '$2 ~ "^" suite "(-updates|-security)?$" { print "deb", $1, $2, $3 }' \
    "$work/targets" | sort -u >"$work/sources.list"
  [ -s "$work/sources.list" ] || awk -v suite="$suite" '$2 !~ /-/ { print "deb", $1, suite, $3 }' \
    "$work/targets" | sort -u >"$work/sources.list"
fi
mirrors=$work/sources.list
grep -q " $suite main" "$mirrors" || mirrors=

# How this machine's apt fetches: proxies, certificates, retries.
apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$work/apt.conf" || true

lists=$here/packages.txt
[ "$variant" != batch ] || lists="$lists $here/packages-batch.txt"
# shellcheck disable=SC2086 # one or two names
include=$(packages $lists)
for package in "$@"; do include=$include,$package; done

# One date for all files: of the recipe's last change, so that the same packages give the same tar.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1767225600}
export SOURCE_DATE_EPOCH

say "unpacking Debian $suite with $(printf '%s' "$include" | tr ',' ' '); half a minute or more"
# The man page folder is there while packages are installed, because Java's alternatives link into it:
# https://bugs.debian.org/863199
# shellcheck disable=SC2016 # mmdebstrap's own $1, the new root
mmdebstrap --mode=root --variant=minbase --include="$include" \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
  --aptopt="$work/apt.conf" --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --essential-hook='mkdir -p "$1/usr/share/man/man1"' \
  --customize-hook="sh '$here/trim.sh' \"\$1\"" \
  "$suite" "$output" ${mirrors:+"$mirrors"} >"$work/log" 2>&1 ||
  { tail -n 40 "$work/log" >&2; say "mmdebstrap failed; the end of its log stands above"; exit 1; }
