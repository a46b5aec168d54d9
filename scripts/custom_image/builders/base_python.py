"""The Python of a base image: asked by running it, as the user that the platform starts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from custom_image.errors import CustomImageError, ServiceNotReady, UsageError
from custom_image.progress import say
from custom_image.specification import GROUP_ID, USER_ID
from custom_image.target_python import PROBE, TargetPython

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext
    from custom_image.engines.docker.engine import DockerEngine

# Prints a line for each Python: how it was found, and what it says about itself. First an activated
# environment, then PATH, then where people put environments and other Pythons.
_SCRIPT: Final = r"""
ask() { [ -x "$2" ] && said=$("$2" -c "$probe" 2>/dev/null) && printf '%s %s\n' "$1" "$said"; }
probe=$1
for folder in "$VIRTUAL_ENV" "$CONDA_PREFIX"; do
  [ -z "$folder" ] || ask active "$folder/bin/python"
done
for name in python3 python; do ask path "$(command -v $name)"; done
for home in /opt /home/ma-user /usr/local /root; do
  for folder in $home/*/envs/* $home/* $home/.pyenv/versions/*; do
    ask elsewhere "$folder/bin/python3"
  done
done
for python in /venv/bin/python3 /app/*/bin/python3 /app/.venv/bin/python3 \
  /usr/local/bin/python3.[0-9] /usr/local/bin/python3.1[0-9] \
  /usr/bin/python3.[0-9] /usr/bin/python3.1[0-9]; do
  ask elsewhere "$python"
done
exit 0
"""
_USER: Final = f"{USER_ID}:{GROUP_ID}"
_asked: dict[tuple[str, str], TargetPython] = {}


def find_python(reference: str, minor: str = "", *, engine: DockerEngine) -> TargetPython:
    """Return the Python of a base image that an image made of it starts.

    Of several, that is the one of an activated environment (``VIRTUAL_ENV``, ``CONDA_PREFIX``),
    else the first in ``PATH``; but the distribution's own gives way to one in ``PATH`` or to an
    environment that somebody has installed beside it.

    Args:
        reference: of the base image, which the engine holds.
        minor: the version that it must be, ``3.8``; any where empty.
        engine: runs it.

    Raises:
        UsageError: it has none that wheels can be had for, or none of this version.
    """
    key = (engine.inspect(reference).id, minor)
    if key not in _asked:
        _asked[key] = _find(reference, minor, engine)
    return _asked[key]


def fit_python(context: BuildContext, base: str, *, engine: DockerEngine) -> dict[str, str]:
    """Return the build arguments of a context, with the Python that its base really has.

    Raises:
        UsageError: the base has another Python than the wheels of the context are for.
    """
    wanted = context.python
    found = find_python(base, wanted.minor, engine=engine)
    if found.glibc < wanted.glibc or found.machine != wanted.machine:
        raise UsageError(
            f"{base} has {found} with glibc 2.{found.glibc}; the Python packages of "
            f"{context.folder} are for {wanted} with glibc 2.{wanted.glibc}.\n"
            "Write the context for it: write_build_context(..., python=find_python(base, ...))."
        )
    return {**context.arguments, "PYTHON": found.executable}


def _find(reference: str, minor: str, engine: DockerEngine) -> TargetPython:
    answers = _ask(reference, _USER, engine)
    found: list[TargetPython] = []
    refused: list[CustomImageError] = []
    for _, answer in answers:
        try:
            python = TargetPython.read(answer, reference)
        except UsageError as error:
            refused.append(error)
            continue
        if python.executable not in [other.executable for other in found]:
            found.append(python)
    fitting = [python for python in found if minor in ("", python.minor)]
    if fitting:
        chosen, *_ = fitting
        say(f"{reference}: {_shown([chosen])}")
        others = {python.minor: python for python in reversed(found)}
        others.pop(chosen.minor)
        if others and not minor:
            say(f"it also has {_shown(others.values())}, which --python would take")
        return chosen
    if found:
        raise UsageError(
            f"{reference} has {_shown(found)}; expected Python {minor}.\n"
            "Name another base (--base-image), or leave --python out."
        )
    if refused:
        raise refused[0]
    for_root = _ask(reference, "0", engine)
    if for_root:
        where = json.loads(for_root[0][1])["executable"]
        raise UsageError(
            f"{reference} has a Python at {where}, which user {_USER} may not start, and the "
            "platform starts images as that user.\n"
            "Install it where everybody may read, such as /opt."
        )
    raise UsageError(
        f"{reference} has no Python, neither in its PATH nor where environments usually are.\n"
        "Take a base that has one, or let it be made here: leave --base-image out."
    )


def _ask(reference: str, user: str, engine: DockerEngine) -> list[tuple[str, str]]:
    """Return how each Python was found and what it says, best first."""
    try:
        said = engine.run(reference, ["sh", "-c", _SCRIPT, "sh", PROBE], user=user)
    except ServiceNotReady as error:
        machine = engine.inspect(reference).architecture
        raise UsageError(
            f"base image {reference} ({machine}) cannot run a shell on this engine: {error}\n"
            "An image needs a POSIX shell, and the machine of the engine."
        ) from error
    lines = [line.partition(" ") for line in said.splitlines()]
    answers = [(how, answer) for how, _, answer in lines if answer.startswith("{")]
    return sorted(answers, key=_rank)


def _rank(answer: tuple[str, str]) -> int:
    how, said = answer[0], json.loads(answer[1])
    of_distribution = said["executable"].startswith("/usr/bin/")
    if said["environment"] or how == "active" or (how == "path" and not of_distribution):
        return 0
    return 1 if how == "path" else 2


def _shown(pythons: Iterable[TargetPython]) -> str:
    return ", ".join(f"Python {python.version} ({python.executable})" for python in pythons)
