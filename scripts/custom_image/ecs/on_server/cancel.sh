#!/bin/sh
# Cancel a job and wait until it has tidied up; print its exit code. 66: there is no such job.
#   cancel.sh STORE JOB PATIENCE_S
set -eu
export LC_ALL=C
cd "$1/jobs/$2" 2>/dev/null || exit 66
pid=$(cat pid)
if [ ! -f code ] && grep -qF "$2" "/proc/$pid/cmdline" 2>/dev/null; then
  kill -TERM "$pid"
  tries=$(($3 * 10))
  while [ ! -f code ] && [ "$tries" -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
  done
  if [ ! -f code ]; then
    kill -KILL -- "-$pid" 2>/dev/null || true
    echo 137 >code
  fi
fi
cat code 2>/dev/null || echo vanished
