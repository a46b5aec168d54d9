#!/bin/sh
# Install the pinned torch into the given Python: the CPU build, unless TORCH_BUILD says otherwise.
#
#   scripts/install_torch.sh .venv/bin/python
#   TORCH_BUILD=cu130 scripts/install_torch.sh .venv/bin/python      a GPU build, only if asked
#
# torch stands outside the hashed lock because its CPU build has no place on the common index: it is
# looked for where pip itself is configured to look, and only then on PyTorch's own index.
set -eu

python=$1
build=${TORCH_BUILD:-cpu}
version=$(sed -n 's/^ *"torch==\(.*\)",$/\1/p' "$(dirname "$0")/../pyproject.toml")
index=https://download.pytorch.org/whl/$build

installed_build() {
  "$python" - "$version" <<'PY'
import importlib.metadata, sys
try:
    installed = importlib.metadata.version("torch")
except importlib.metadata.PackageNotFoundError:
    sys.exit(print("none"))
base, _, local = installed.partition("+")
print((local or "default") if base == sys.argv[1] else "none")
PY
}

install() { "$python" -m pip install --quiet --disable-pip-version-check --no-deps "$@"; }

[ "$(installed_build)" = "$build" ] && exit 0
echo "install_torch: installing torch $version ($build build)" >&2
# The local version label (+cpu) is asked for by name, so that no default build with gigabytes of
# CUDA can come instead.
install "torch==$version+$build" 2>/dev/null || install --index-url "$index" "torch==$version+$build" || {
  echo "install_torch: torch $version ($build build) was found neither through pip's own configuration" >&2
  echo "install_torch: nor at $index." >&2
  echo "install_torch: Point pip at an index or folder that has it (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL)." >&2
  exit 1
}
[ "$(installed_build)" = "$build" ] || {
  echo "install_torch: expected the $build build of torch $version, found $(installed_build)" >&2
  exit 1
}
