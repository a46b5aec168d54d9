"""The extras of this distribution, and the error where one is not installed.

What judges is small and always there. Each further part of the tool is an extra of pyproject.toml,
and what is missing is found in two ways: where a part begins it asks for its extra, and wherever
an import fails the error names the extra that brings the module.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from typing import Final

from custom_image.errors import UsageError

NAME: Final = "modelarts-custom-image"
# They stand for several extras at once.
_GATHERED: Final = ("all", "dev")
# Modules that are not called as the distribution that brings them.
_DISTRIBUTIONS: Final = {"jwt": "pyjwt", "PIL": "pillow", "multipart": "python-multipart"}


class ExtraMissing(UsageError):
    """Something was asked of a part of the tool that is not installed."""

    def __init__(self, missing: str, extra: str) -> None:
        super().__init__(f"{missing} is not installed here: pip install '{NAME}[{extra}]'")


def require(extra: str) -> None:
    """See that an extra is installed.

    Raises:
        ExtraMissing: a distribution that it names is missing.
    """
    for name in requirements().get(extra, ()):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise ExtraMissing(name, extra) from None


def explain(error: ModuleNotFoundError) -> ExtraMissing | None:
    """Return the error that says what to install; None where no extra brings the module."""
    module = error.name or ""
    name = _DISTRIBUTIONS.get(module, _normal(module))
    # The smallest of several: who asks for the local platform needs no torch.
    extras = sorted(requirements(), key=lambda extra: len(requirements()[extra]))
    found = next((extra for extra in extras if name in requirements()[extra]), None)
    return ExtraMissing(name, found) if found else None


@cache
def requirements() -> dict[str, list[str]]:
    """Return the distributions that each extra asks for itself."""
    found: dict[str, list[str]] = {}
    for line in metadata.requires(NAME) or []:
        name, extra = re.match(r"[\w.-]+", line), re.search(r"\bextra\s*==\s*['\"]([\w-]+)", line)
        if name and extra and extra[1] not in _GATHERED:
            found.setdefault(extra[1], []).append(_normal(name[0]))
    return found


def torch_requirement() -> str:
    """Return the torch that this project is pinned to, such as ``torch==2.13.0``."""
    lines = metadata.requires(NAME) or []
    return next(re.split(r"[;\s]", line)[0] for line in lines if line.startswith("torch=="))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
