#!/bin/sh
# shellcheck disable=SC2154 # job.sh, which stands before it, sets them
# Build the image of the context KEY; follows job.sh.
#
#   ... JOB KEY LIMIT_S TAG BUILDKIT NETWORK [--build-arg NAME=VALUE]...
tag=$1 buildkit=$2 network=$3
shift 3
# Of its own, so that no proxy and no credential of this user reaches the image.
export DOCKER_CONFIG="$PWD/docker" DOCKER_BUILDKIT="$buildkit" BUILDKIT_PROGRESS=plain
log=$folder/log
before=$(docker images --quiet --no-trunc "$tag" 2>/dev/null)
[ "$buildkit" = 1 ] || set -- --force-rm "$@"

build() {
  limited docker build --network "$network" --tag "$tag" "$@" "contexts/$key/tree"
}
went_away='Cannot connect to the Docker daemon|error during connect|unexpected EOF|transport is closing|error reading from server|graceful_stop|Unavailable desc'
remove_containers() {
  # Those that the classic builder ran, where it could not remove them itself.
  sed -n 's/^ ---> Running in \([0-9a-f]*\)$/\1/p' "$log" | while read -r container; do
    docker rm --force --volumes "$container" >/dev/null 2>&1
  done
}
remove_images() {
  # Give the disk back what this build made and nothing names. Ids of FROM and of reused steps are
  # not this build's.
  if [ "$buildkit" = 1 ]; then
    docker builder prune --force >/dev/null
    return
  fi
  awk '/^Step /{ from = ($4 == "FROM"); used = 0 } / ---> Using cache/{ used = 1 }
       /^ ---> [0-9a-f]+$/{ if (!from && !used) print $2 }' "$log" >"$folder/images"
  while docker images --quiet --filter dangling=true | grep -Fxf "$folder/images" >"$folder/loose"; do
    xargs docker rmi <"$folder/loose" >/dev/null 2>&1 || break
  done
}

build "$@"
code=$?
if [ "$code" != 0 ] && [ -z "$cancelled" ] && grep -Eq "$went_away" "$log" && engine_answers; then
  remove_containers
  echo "The engine was restarted; building again."
  build "$@"
  code=$?
fi
if [ "$code" = 0 ]; then
  after=$(docker images --quiet --no-trunc "$tag")
  # The image that had this name; stays where another name or a container holds it.
  [ -z "$before" ] || [ "$before" = "$after" ] || docker rmi "$before" >/dev/null 2>&1
else
  engine_answers && remove_containers
  ! grep -qi 'no space left on device' "$log" || remove_images
fi
end "$code"
