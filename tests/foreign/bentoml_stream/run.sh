#!/bin/sh
cd "$(dirname "$0")" || exit 1
export BENTOML_DO_NOT_TRACK=true
exec ../venv/bin/bentoml serve serve:Words --port "$PORT"
