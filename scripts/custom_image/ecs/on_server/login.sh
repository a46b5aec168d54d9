#!/bin/sh
# Keep the login that comes on standard input, a config.json of Docker, until job JOB ends.
#   login.sh STORE JOB
set -eu
umask 077
mkdir -p "$1/jobs/$2/docker"
cat >"$1/jobs/$2/docker/config.json"
# Logins of jobs that were killed before they could remove theirs.
cd "$1/jobs"
for login in */docker; do
  job=${login%/docker}
  [ "$job" = "$2" ] || [ -d "/proc/$(cat "$job/pid" 2>/dev/null || echo none)" ] || rm -rf "$login"
done
