#!/bin/sh
# Pull an image, giving up where no registry has answered within some seconds.
#   pull.sh REFERENCE SECONDS
log=$(mktemp)
trap 'rm -f "$log"' EXIT
docker pull "$1" >"$log" 2>&1 &
pull=$!
tries=$(($2 * 5))
while kill -0 "$pull" 2>/dev/null && ! grep -q 'Pulling from' "$log"; do
  tries=$((tries - 1))
  if [ "$tries" -le 0 ]; then
    kill "$pull"
    echo "no registry answered within $2 s"
    exit 1
  fi
  sleep 0.2
done
wait "$pull"
code=$?
cat "$log"
exit "$code"
