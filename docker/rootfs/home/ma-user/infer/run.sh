#!/bin/sh
# Serves the model package beside it (model/1) with the runtime beside it (model_service/). Everything
# is found relative to this file, so that it also runs outside a container. Settings: README.md of
# model_package; the wait of 60 s after SIGTERM is in model_service/processes/supervisor.py.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd -- "$here" || exit 1
# A file too large for one layer of an image comes in parts (scenario ecs_build): make it whole first.
if [ -f model/1/.parts ]; then
  while IFS= read -r name; do
    name=model/1/$name
    [ -f "$name" ] || { cat "$name".part-* >"$name.new" && mv "$name.new" "$name"; } || exit 1
  done <model/1/.parts
fi
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# The image's own Python need not be the first in PATH: that of a conda or a virtual environment is not.
# What the package starts as `python` is then the same one.
PYTHON=${PYTHON:-python3}
case $PYTHON in
  */*) [ "$PYTHON" = "$(command -v python3)" ] || export PATH="${PYTHON%/*}:$PATH" ;;
esac
exec "$PYTHON" -m model_service
