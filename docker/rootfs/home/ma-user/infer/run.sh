#!/bin/sh
# Serves the model package beside it (model/1) with the runtime beside it (model_service/). Everything
# is found relative to this file, so that it also runs outside a container. Settings: README.md of
# model_package; the wait of 60 s after SIGTERM is in model_service/supervisor.py.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd -- "$here" || exit 1
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec python3 -m model_service
