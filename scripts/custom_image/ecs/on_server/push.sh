#!/bin/sh
# shellcheck disable=SC2154 # job.sh, which stands before it, sets them
# Push an image under another name, again after a while where the registry fails; follows job.sh.
#
#   ... JOB KEY LIMIT_S IMAGE REFERENCE TRIES PAUSE_S
#
# jobs/JOB/docker/config.json is the login, if there is one; it goes when the job ends.
image=$1 reference=$2 tries=$3 pause_s=$4
log=$folder/log
trap 'rm -rf "$folder/docker"' EXIT
[ ! -d "$folder/docker" ] || export DOCKER_CONFIG="$PWD/$folder/docker"
docker tag "$image" "$reference" || end 1
# With containerd's image store a plain push sends an index, with attestations, which SWR refuses.
set --
case $(docker info --format '{{.DriverStatus}}' 2>/dev/null) in *io.containerd.snapshotter*)
  set -- --platform "$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$reference")"
  echo "Left out: what is not the image for $2, attestations included."
esac
number=1
while :; do
  seen=$(wc -l <"$log")
  limited docker push "$@" "$reference"
  code=$?
  [ "$code" = 0 ] && break
  [ "$code" != 124 ] && [ -z "$cancelled" ] && [ "$number" -lt "$tries" ] || break
  # What a registry refuses today it refuses in a minute as well.
  ! tail -n +$((seen + 1)) "$log" | grep -Eqi 'denied|unauthorized|no basic auth|forbidden' || break
  echo "Failed; try $((number + 1)) of $tries in $pause_s s."
  limited sleep "$pause_s"
  pause_s=$((pause_s * 2)) number=$((number + 1))
  engine_answers || true
done
rm -rf "$folder/docker"
[ "$code" = 0 ] || [ "$image" = "$reference" ] || docker rmi "$reference" >/dev/null 2>&1
end "$code"
