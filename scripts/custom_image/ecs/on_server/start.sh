#!/bin/sh
# Start a job that outlives the connection; print its process id.
#
#   start.sh STORE JOB KEY PLACE NOTE SCRIPT ARGUMENT...
#
# PLACE yes: standard input is the tar of the context's tree, whose files are links to objects/.
# Exit codes: 75 another job uses this context, and is printed; 76 an object is missing.
set -eu
export LC_ALL=C
umask 022
store=$1 job=$2 key=$3 place=$4 note=$5 script=$6
shift 6
mkdir -p "$store/jobs/$job" "$store/contexts/$key" "$store/docker"
cd "$store"
context=contexts/$key
# The job inherits the lock, and so holds it until it ends, however that is.
exec 9>"$context/lock"
if ! flock -n 9; then
  rm -rf "jobs/$job"
  cat "$context/job"
  exit 75
fi
if [ "$place" = yes ]; then
  rm -rf "$context/new" "$context/new.objects"
  if ! tar -xzf - 2>"$context/error"; then
    cat "$context/error" >&2
    rm -rf "$context/new" "jobs/$job"
    exit 76
  fi
  rm -rf "$context/tree"
  mv "$context/new" "$context/tree"
  # What only the tree before this one used is no longer needed.
  if [ -s "$context/objects" ]; then
    find objects -type f -links 1 -printf '%f\n' | grep -Fxf "$context/objects" |
      while read -r id; do rm -f "objects/$id" "chunks/$id"; done
  fi
  mv "$context/new.objects" "$context/objects"
fi
echo "$job" >"$context/job"
printf '%s' "$note" >"jobs/$job/note"
printf '%s' "$script" >"jobs/$job/script"
: >"jobs/$job/log"
setsid sh "jobs/$job/script" "$job" "$key" "$@" </dev/null >>"jobs/$job/log" 2>&1 &
echo $! >"jobs/$job/pid"
echo $!
