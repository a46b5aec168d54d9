#!/bin/sh
# Print the log of a job from its beginning and as it grows, until the job ends; then, on standard
# error, its exit code, or "vanished". Exit code 66: there is no such job.
#   follow.sh STORE JOB
set -eu
export LC_ALL=C
cd "$1/jobs/$2" 2>/dev/null || exit 66
pid=$(cat pid 2>/dev/null || echo 0)
if [ ! -f code ] && grep -qF "$2" "/proc/$pid/cmdline" 2>/dev/null; then
  tail -n +1 -s 0.2 -f --pid="$pid" log
else
  cat log
fi
cat code >&2 2>/dev/null || echo vanished >&2
