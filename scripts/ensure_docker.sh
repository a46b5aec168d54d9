#!/bin/sh
# See to a Docker engine: use the one that answers, else (root on Debian or Ubuntu) install the
# distribution's and start it, else say what will not be checked.
#
#   scripts/ensure_docker.sh            exits 0 either way; the tool falls back to the process engine
#   REQUIRE_DOCKER=1 scripts/ensure_docker.sh    exits 3 when no engine can be had (CI)
#   DOCKER_SOCKET=/run/other.sock scripts/ensure_docker.sh    starts one there, if none answers there
set -eu

socket=${DOCKER_SOCKET:-/var/run/docker.sock}
host=${DOCKER_HOST:-unix://$socket}
log_file="${TMPDIR:-/tmp}/custom-image-dockerd.log"

say() { printf 'ensure_docker: %s\n' "$*" >&2; }

# Asked of the socket, not of a client: the engine is what counts, and it may come without its client.
# Prints why it does not answer.
ask() {
  python3 - "$host" <<'PY'
import socket, sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
try:
    if url.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(url.path)
    elif url.hostname in ("localhost", "127.0.0.1", "::1"):
        connection = socket.create_connection((url.hostname, url.port or 2375), timeout=5)
    else:
        sys.exit(print("it is another machine, where services cannot be asked at 127.0.0.1"))
    with connection:
        connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        if b" 200 " not in connection.recv(64):
            print("it answers, but not as a Docker engine does")
except PermissionError:
    print("this user may not use it; join the group docker: sudo usermod -aG docker $USER")
except OSError as error:
    print(error.strerror or error)
PY
}

answers() { [ -z "$(ask)" ]; }

give_up() {
  say "no Docker engine: $1"
  if [ "${REQUIRE_DOCKER:-0}" = 1 ]; then
    say "REQUIRE_DOCKER=1, so this is an error. Start an engine, or run as root on Debian or Ubuntu."
    exit 3
  fi
  say "going on with the process engine: run.sh runs as a process of this machine. Rules about the"
  say "image itself (size, layers, CMD, user) will say NOT CHECKED, and container tests are skipped."
  exit 0
}

# As long as one is starting: ours, or the one that its package has started.
is_starting() {
  kill -0 "$1" 2>/dev/null || { [ -f "$2" ] && kill -0 "$(cat "$2")" 2>/dev/null; }
}

why=$(ask)
if [ -z "$why" ]; then
  say "using the Docker engine at $host"
  exit 0
fi
[ -z "${DOCKER_HOST:-}" ] || give_up "DOCKER_HOST=$DOCKER_HOST: $why. Start it, or unset DOCKER_HOST."
[ "$(id -u)" = 0 ] || give_up "$host: $why. Only root can install one; ask for one, or use sudo."

if ! command -v dockerd >/dev/null 2>&1; then
  command -v apt-get >/dev/null 2>&1 || give_up "none answers, and this is not Debian or Ubuntu, so it must be installed by hand."
  say "installing the distribution's engine (docker.io) with apt-get; this takes about half a minute"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists at hand"
  apt-get install -y -qq --no-install-recommends docker.io iptables ca-certificates >"$log_file" 2>&1 ||
    give_up "apt-get could not install docker.io; its output is in $log_file."
fi

pid=0
pid_file=${socket%.sock}.pid
if [ -d /run/systemd/system ] && [ -z "${DOCKER_SOCKET:-}" ]; then
  systemctl start docker || give_up "systemctl could not start docker; see 'journalctl -u docker'."
elif ! answers; then
  # No init system (a container, a CI machine): the engine is started by hand and outlives this
  # script; a pid file left by an engine that is gone would stop it.
  if [ -f "$pid_file" ] && ! kill -0 "$(cat "$pid_file")" 2>/dev/null; then rm -f "$pid_file"; fi
  setsid nohup dockerd --host "unix://$socket" --pidfile "$pid_file" >>"$log_file" 2>&1 </dev/null &
  pid=$!
fi

attempts=0
until answers; do
  attempts=$((attempts + 1))
  [ "$attempts" -le 120 ] || give_up "dockerd did not answer within 60 s; its log is $log_file."
  if [ "$pid" != 0 ] && ! is_starting "$pid" "$pid_file"; then
    give_up "dockerd ended at once; its log is $log_file. It needs a machine, or a privileged container."
  fi
  sleep 0.5
done
say "started the Docker engine; its log is $log_file"
