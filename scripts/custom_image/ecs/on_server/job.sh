#!/bin/sh
# shellcheck disable=SC2034 # used by what follows
# The head of every job's script: it runs in a session of its own and writes how it ended.
#
#   jobs/JOB/log     all that it says     jobs/JOB/pid   its process and process group
#   jobs/JOB/code    its exit code; 124: time is over, 143: cancelled. Not there while it runs.
set -u
export LC_ALL=C
umask 022
folder=jobs/$1 key=$2 limit_s=$3
shift 3
deadline=$(($(date +%s) + limit_s))
child='' cancelled=''
trap 'cancelled=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
trap '' HUP INT

limited() {
  # Run a command until it ends, time is over (124) or the job is cancelled (143).
  left_s=$((deadline - $(date +%s)))
  [ "$left_s" -gt 0 ] || return 124
  [ -z "$cancelled" ] || return 143
  timeout --foreground -k 20 "$left_s" "$@" 9>&- &
  child=$!
  wait "$child"
  code=$?
  while kill -0 "$child" 2>/dev/null; do # a signal interrupts `wait`
    wait "$child"
    code=$?
  done
  child=
  [ -z "$cancelled" ] || return 143
  return "$code"
}
end() {
  echo "$1" >"$folder/code.new"
  mv "$folder/code.new" "$folder/code"
  exit 0
}
engine_answers() {
  # Wait up to a minute: it may just be starting again.
  tries=0
  while ! docker version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 120 ] || return 1
    sleep 0.5
  done
}
