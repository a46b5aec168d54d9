#!/bin/sh
# Receive what a build context lacks here: says what there is, then obeys the commands it reads.
#
#   receive.sh STORE KEY
#
#   objects/ID           a whole file, named by its content and mode; trees are hard links to them
#   chunks/ID            the SHA-256 of its chunks, one a line
#   uploads/KEY/ID       a file that is on its way, and ID.chunks: the chunks that have arrived whole
#
# Names of the author's files never come here: IDs and hashes are hexadecimal.
set -eu
export LC_ALL=C
umask 022
store=$1 key=$2
mkdir -p "$store/objects" "$store/chunks" "$store/uploads/$key" "$store/contexts/$key" "$store/jobs"
cd "$store"
uploads=uploads/$key

if ! flock -n "contexts/$key/lock" true; then
  echo "busy $(cat "contexts/$key/job" 2>/dev/null)"
  exit 0
fi
# An upload whose connection is gone may still wait for the rest of a chunk: end it first.
if [ -f "$uploads/group" ] && read -r group started <"$uploads/group"; then
  [ "$(sed 's/.*) //' "/proc/$group/stat" 2>/dev/null | cut -d ' ' -f 20)" != "$started" ] ||
    kill -KILL -- "-$group" 2>/dev/null || true
fi
read -r _ _ _ _ group _ <"/proc/$$/stat"
echo "$group $(sed 's/.*) //' "/proc/$group/stat" | cut -d ' ' -f 20)" >"$uploads/group"
# What was sent for a context that was never built is kept for a day, to be gone on with.
find objects -type f -links 1 -cmin +1440 -delete
find uploads -type f ! -name group -cmin +1440 -delete
find jobs -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {} +

find objects -type f -printf 'object %f %s\n'
for list in "$uploads"/*.chunks; do
  [ ! -f "$list" ] || echo "part $(basename "$list" .chunks) $(wc -l <"$list")"
done
echo ready

fail() {
  echo "$1" >&2
  exit 1
}
append() {
  # $1 hash, $2 size; the bytes come on standard input. What is hashed is what the disk has.
  if ! head -c "$2" >>"$part"; then
    rm -f "$part" "$part.chunks" # a full disk is not made fuller
    fail "the server's disk is full, or broken: $(df -h --output=avail . | tail -n 1) free"
  fi
  [ "$(tail -c "$2" "$part" | sha256sum)" = "$1  -" ] || fail "damaged on the way: $1"
  echo "$1" >>"$part.chunks"
}
while read -r verb a b c d; do
  case $verb in
    chunks) # ID: of which chunks does it consist?
      cat "chunks/$a" 2>/dev/null || true
      echo end ;;
    part) # ID, size of what has arrived whole
      id=$a part=$uploads/$a
      touch "$part" "$part.chunks"
      truncate -s "$b" "$part" ;;
    data) # hash, size; then the bytes
      append "$a" "$b" ;;
    keep) # hash, size, ID of a file here that has it, index of the chunk in units of $chunk
      dd if="objects/$c" bs="$chunk" skip="$d" count=1 2>/dev/null | append "$a" "$b" ;;
    chunk) # size of all chunks but the last
      chunk=$a ;;
    whole) # mode, fraction of a second: BuildKit takes a file of the same size and date for the same
      chmod "$a" "$part"
      touch -d "@0.$b" "$part"
      mv "$part.chunks" "chunks/$id"
      ln "$part" "objects/$id" 2>/dev/null || [ -f "objects/$id" ]
      rm "$part" ;;
    end)
      rm -rf "$uploads"
      echo received
      exit 0 ;;
    *) fail "unknown command $verb" ;;
  esac
done
fail "the connection ended"
