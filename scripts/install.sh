#!/bin/sh
# Create the virtual environment from the lock: every package but torch by its hash, torch by its pin.
#
#   scripts/install.sh [PYTHON [VENV]]
set -eu

python=${1:-python3}
venv=${2:-.venv}
cd "$(dirname "$0")/.."

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "install: expected Python 3.11, for which the lock was made; found $("$python" --version 2>&1)." >&2
  echo "install: Name one with 'make PYTHON=python3.11 install', or use environment.yml with conda." >&2
  exit 2
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  # Debian and Ubuntu split venv off their python3.
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "install: $python has no venv module. On Debian or Ubuntu: apt-get install python3-venv." >&2
    exit 2
  fi
  echo "install: installing python3-venv with apt-get" >&2
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >&2
fi

[ -x "$venv/bin/python" ] || {
  echo "install: creating $venv from requirements.lock; this takes one to two minutes" >&2
  "$python" -m venv "$venv"
}
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install --require-hashes --requirement requirements.lock
scripts/install_torch.sh "$venv/bin/python"
# setuptools warns of two source roots in one editable install, which is what is wanted here.
PYTHONWARNINGS=ignore pip install --no-deps --no-build-isolation --editable .
