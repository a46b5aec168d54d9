#!/bin/sh
# Lock what images install: one hashed <name>.txt for every <name>.in, resolved for Python 3.11.
#
#   docker/requirements/lock.sh .venv/bin/pip-compile [--upgrade]
#
# A lock names no index: wheels come from wherever the author's pip looks, and must have these hashes.
set -eu

pip_compile=$1
shift
cd -- "$(dirname -- "$0")"
case $pip_compile in /*) ;; */*) pip_compile=$OLDPWD/$pip_compile ;; esac
for input in *.in; do
  lock=${input%.in}.txt
  # Left out although ONNX Runtime's metadata names them: only its tools import them, which images do
  # not have either (trim.py).
  "$pip_compile" "$@" --quiet --generate-hashes --strip-extras \
    --no-header --no-emit-options --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
    --unsafe-package flatbuffers --unsafe-package protobuf \
    --output-file "$lock" "$input"
  # pip-compile warns, in the lock itself too, of what it was told to leave out.
  sed -i -e '/^# WARNING/,$d' -e '/^$/d' "$lock"
done
