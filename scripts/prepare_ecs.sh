#!/bin/sh
# Make a bare Debian or Ubuntu server ready to build images: engine, disk, clock, user.
# Says what it did and what was so already; a second run changes nothing.
#
#   sudo sh prepare_ecs.sh [OPTION...]       on the server; exits 3 where something is still missing
#     --user NAME        may use the engine; made if missing, with root's authorized_keys. Default:
#                        who called sudo
#     --data-root DIR    where the engine keeps images; "largest": docker/ on the largest mounted
#                        disk. Default: as it is. A change restarts the engine and its containers
#     --debs DIR         a server with no way out: install from these packages (see --fetch)
#     --ntp-server NAME  where the clock comes from, e.g. that of the cloud's own network
#     --now SECONDS      what time it is (date +%s); sets a clock that no time service keeps
#   sh prepare_ecs.sh --fetch DIR            on a machine with a network, and of the server's release
#     and architecture (a container will do): get the packages for --debs; root is not needed
# This file as it is can also be the user data of a new server: cloud-init runs it at the first start.
set -eu

# The registry SWR takes clients of 1.11.2 to 24.0.9; BuildKit came with 18.09.
oldest=18.09
newest=24.0.9
packages='iptables apparmor ca-certificates'
clock_tolerance_s=60
start_timeout_s=60
log=/var/log/prepare_ecs.log

user=${SUDO_USER:-}
data_root=
debs=
ntp_server=
now=
changes=0
problems=0
updated=

say() { printf 'prepare_ecs: %s\n' "$*"; }
kept() { say "already: $*"; }
did() {
  changes=$((changes + 1))
  say "done:    $*"
}
missing() {
  problems=$((problems + 1))
  say "MISSING: $*"
}
refuse() {
  printf 'prepare_ecs: %s\n' "$*" >&2
  exit 2
}
has() { command -v "$1" >/dev/null 2>&1; }
runs() { cat /proc/[0-9]*/comm 2>/dev/null | grep -qx "$1"; }
has_systemd() { [ -d /run/systemd/system ]; }
is_at_most() { dpkg --compare-versions "$1" le "$2"; }
# 5:24.0.9-1~debian.12~bookworm and 20.10.24+dfsg1-1 are 24.0.9 and 20.10.24.
bare_version() { printf '%s\n' "$1" | sed 's/^[0-9]*://; s/[^0-9.].*//'; }
release() {
  # shellcheck source=/dev/null
  (. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-unknown} $(dpkg --print-architecture)")
}

# --- packages -------------------------------------------------------------------------------------

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 "$@"
}
apt_lists() { [ -n "$updated" ] || apt update >>"$log" 2>&1 || true; updated=yes; }
install() {
  apt_lists
  apt install --no-install-recommends -o Dpkg::Options::=--force-confold "$@" >>"$log" 2>&1
}

# The newest engine that the registry takes, as package=version; Docker's own comes in two.
choose_engine() {
  for name in docker.io docker-ce; do
    best=
    for version in $(apt-cache madison "$name" 2>/dev/null | awk '{ print $3 }'); do
      is_at_most "$(bare_version "$version")" "$newest" || continue
      if [ -z "$best" ] || dpkg --compare-versions "$version" gt "$best"; then best=$version; fi
    done
    case $name$best in
      docker.io | docker-ce) ;;
      docker-ce*) echo "docker-ce=$best docker-ce-cli=$best" ;;
      *) echo "$name=$best" && return ;;
    esac
  done
}

why_none() {
  offered=$(apt-cache madison docker.io 2>/dev/null | awk '{ print $1, $3 }' | head -n 1)
  echo "the package sources offer ${offered:-none}, the registry takes at most $newest." \
    "Debian 12, Ubuntu 22.04 and 24.04 have one; so has Docker's own repository (docker-ce)."
}

# apt with lists, or with lists and an installed system, of its own; more settings on standard input.
use_own_apt() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial"
  { printf 'Dir::State::lists "%s/lists";\nAPT::Sandbox::User "%s";\n' "$work" "$(id -un)" && cat; } >"$work/apt.conf"
  export APT_CONFIG="$work/apt.conf"
}

use_debs() {
  [ -d "$debs" ] || refuse "--debs $debs: no such folder; --fetch makes one."
  debs=$(cd "$debs" && pwd)
  made_for=$(cat "$debs/release" 2>/dev/null || echo unknown)
  [ "$made_for" = "$(release)" ] || refuse "--debs $debs is for '$made_for', this server is '$(release)'."
  # From here on the folder is the only package source: a server with no way out does not wait for one.
  use_own_apt <<CONF
Dir::Etc::sourcelist "$debs/sources.list";
Dir::Etc::sourceparts "/dev/null";
CONF
  echo "deb [trusted=yes] file:$debs ./" >"$debs/sources.list"
}

fetch() {
  mkdir -p "$1/partial"
  debs=$(cd "$1" && pwd)
  use_own_apt <<CONF
Dir::State::status "$debs/partial/status";
Dir::Cache "$debs/partial";
Dir::Cache::archives "$debs";
Debug::NoLocking 1;
CONF
  : >"$debs/partial/status" # as if nothing were installed, so that nothing is left out
  log=$work/log
  apt update >"$log" 2>&1 || { cat "$log" >&2 && refuse "apt-get update failed."; }
  engine=$(choose_engine)
  [ -n "$engine" ] || refuse "no engine: $(why_none)"
  say "fetching $engine, a time service and all that they need into $1"
  # shellcheck disable=SC2086 # several names
  install --download-only $engine $packages chrony || { tail -n 20 "$log" >&2 && refuse "apt-get failed."; }
  rm -rf "$debs/partial" "$debs/lock"
  (cd "$debs" && for file in *.deb; do
    dpkg-deb --field "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
      "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
  done >Packages)
  release >"$debs/release"
  say "$(grep -c ^Filename "$debs/Packages") packages, $(du -sm "$debs" | cut -f 1) MB, for $(release)"
}

# --- engine ---------------------------------------------------------------------------------------

engine_version() { bare_version "$(dockerd --version | sed 's/^[^0-9]*//')"; }
answers() { docker version >/dev/null 2>&1; }

prepare_engine() {
  if has dockerd; then
    kept "engine $(engine_version)"
  else
    apt_lists
    engine=$(choose_engine)
    if [ -z "$engine" ]; then
      missing "engine: $(why_none)"
      return
    fi
    # shellcheck disable=SC2086 # several names
    if ! install $engine $packages || ! has dockerd; then
      missing "engine: $engine could not be installed; the end of $log: $(tail -n 1 "$log")"
      return
    fi
    did "engine $(engine_version) installed"
    # An upgrade would take it past what the registry takes.
    # shellcheck disable=SC2046 # one or two names
    apt-mark hold $(echo "$engine" | tr ' ' '\n' | sed 's/=.*//') >/dev/null
  fi
  if ! is_at_most "$(engine_version)" "$newest"; then
    missing "engine $(engine_version): the registry takes at most $newest. Pushing from here may be" \
      "refused; an engine that is in use is not replaced: remove it yourself, then run this again."
  elif ! is_at_most "$oldest" "$(engine_version)"; then
    missing "engine $(engine_version): at least $oldest is needed; remove it, then run this again."
  fi
}

start_engine() {
  has dockerd || return 0
  if [ "$1" = restart ]; then
    if has_systemd; then
      systemctl restart docker
    elif answers; then
      kill "$(cat /var/run/docker.pid)"
      while runs dockerd; do sleep 0.2; done
    fi
  fi
  if has_systemd && ! systemctl is-enabled --quiet docker; then
    systemctl enable --quiet docker
    did "engine starts with the server"
  fi
  if answers; then
    [ "$1" != restart ] || did "engine restarted"
    kept "engine answers"
    return
  fi
  if has_systemd; then
    systemctl start docker || true
  else
    # No init system, as in a container: it is started by hand and will not start by itself again.
    rm -f /var/run/docker.pid
    setsid nohup dockerd >>"$log" 2>&1 </dev/null &
  fi
  waited=0
  until answers; do
    waited=$((waited + 1))
    if [ "$waited" -gt "$start_timeout_s" ]; then
      missing "engine: it does not answer after $start_timeout_s s; see 'journalctl -u docker', or $log"
      return
    fi
    sleep 1
  done
  did "engine started"
}

# --- disk -----------------------------------------------------------------------------------------

prepare_disk() {
  restart=start
  [ -n "$data_root" ] || return 0
  if [ "$data_root" = largest ]; then
    # By its size, not by what is free, so that images already there do not change the choice.
    here=$(df -P -k "$(nearest /var/lib/docker)" | awk 'NR == 2 { print $2 }')
    mount=$(df -P -k -T | awk -v most="$here" '
      $2 ~ /^(ext[234]|xfs|btrfs)$/ && $7 !~ /^\/(run|boot|dev)/ && $3 > most { most = $3; at = $7 }
      END { print at }')
    data_root=${mount:-/var/lib}/docker
  fi
  settings=/etc/docker/daemon.json
  current=$(sed -n 's/.*"data-root": *"\([^"]*\)".*/\1/p' "$settings" 2>/dev/null || true)
  if [ "${current:-/var/lib/docker}" = "$data_root" ]; then
    kept "images are kept in $data_root, $(free_gb "$data_root") GB free"
  elif [ -s "$settings" ]; then
    missing "images in $data_root: $settings exists and says otherwise. Set \"data-root\" in it yourself."
  else
    mkdir -p /etc/docker "$data_root"
    printf '{ "data-root": "%s" }\n' "$data_root" >"$settings"
    restart=restart
    did "images are kept in $data_root, $(free_gb "$data_root") GB free"
    [ ! -d /var/lib/docker/overlay2 ] || say "         those in /var/lib/docker stay there, unseen"
  fi
}

free_gb() { df -P -k "$(nearest "$1")" | awk 'NR == 2 { printf "%d", $4 * 1024 / 1e9 }'; }
nearest() {
  at=$1
  while [ ! -d "$at" ]; do at=$(dirname "$at"); done
  echo "$at"
}

# --- clock ----------------------------------------------------------------------------------------

keeps_time() { runs chronyd || runs systemd-timesyn || runs ntpd; }

prepare_clock() {
  if keeps_time; then
    kept "a time service keeps the clock"
  else
    if has chronyd || install chrony; then
      # In a container the clock is that of its host, and chronyd may only watch it (-x).
      if has_systemd; then systemctl enable --quiet --now chrony; else chronyd || chronyd -x; fi
    fi >>"$log" 2>&1 || true
    if keeps_time; then did "a time service (chrony) keeps the clock"; else missing "time service: see $log"; fi
  fi
  sources=/etc/chrony/sources.d
  if [ -n "$ntp_server" ] && [ "$(cat "$sources/prepare_ecs.sources" 2>/dev/null)" != "server $ntp_server iburst" ]; then
    mkdir -p "$sources"
    echo "server $ntp_server iburst" >"$sources/prepare_ecs.sources"
    chronyc reload sources >/dev/null 2>&1 || true
    did "the clock comes from $ntp_server"
  fi
  [ -n "$now" ] || return 0
  skew=$(($(date +%s) - now))
  if [ "${skew#-}" -le "$clock_tolerance_s" ]; then
    kept "the clock is right to $clock_tolerance_s s"
  elif date -s "@$now" >/dev/null 2>&1; then
    did "the clock was off by $skew s and was set"
  else
    missing "clock: it is off by $skew s and cannot be set here"
  fi
}

# --- user -----------------------------------------------------------------------------------------

prepare_user() {
  if [ -z "$user" ] || [ "$user" = root ]; then return 0; fi
  if ! id "$user" >/dev/null 2>&1; then
    useradd --create-home --shell /bin/sh "$user"
    usermod --password '*' "$user" # no password, but not locked: keys work
    home=$(getent passwd "$user" | cut -d : -f 6)
    if [ -s /root/.ssh/authorized_keys ]; then
      mkdir -m 700 "$home/.ssh"
      cp /root/.ssh/authorized_keys "$home/.ssh/"
      chown -R "$user:" "$home/.ssh"
    fi
    did "user $user made, for those whose keys let them in as root"
  fi
  if id -nG "$user" | tr ' ' '\n' | grep -qx docker; then
    kept "user $user may use the engine"
  else
    getent group docker >/dev/null || groupadd --system docker
    usermod --append --groups docker "$user"
    did "user $user may use the engine, from the next login on"
  fi
}

# User data gets no options: change these lines before you paste it.
case $0 in /var/lib/cloud/*) data_root=largest ;; esac

while [ $# -gt 0 ]; do
  case $1 in
    --user) user=${2:?--user NAME} ;;
    --data-root) data_root=${2:?--data-root DIR} ;;
    --debs) debs=${2:?--debs DIR} ;;
    --ntp-server) ntp_server=${2:?--ntp-server NAME} ;;
    --now) now=${2:?--now SECONDS} ;;
    --fetch)
      fetch "${2:?--fetch DIR}"
      exit
      ;;
    *) refuse "$1: no such option; they stand at the top of this script." ;;
  esac
  shift 2
done
case $data_root in largest | /* | '') ;; *) refuse "--data-root $data_root: give it from / on." ;; esac
[ "$(id -u)" = 0 ] || refuse "only root can prepare a server; run this with sudo."
has apt-get || refuse "this is neither Debian nor Ubuntu; install an engine of $oldest to $newest by hand."
: >>"$log"
[ -z "$debs" ] || use_debs

prepare_disk
prepare_engine
start_engine "$restart"
prepare_clock
prepare_user

if [ "$changes" = 0 ]; then say "nothing changed"; else say "$changes changed"; fi
[ "$problems" = 0 ] || { say "$problems missing"; exit 3; }
